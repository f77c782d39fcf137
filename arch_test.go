// Package p2pd_test guards the architecture: it fails when a package imports
// what it must not. ARCHITECTURE.md explains the floors.
package p2pd_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/p2pd/p2pd"

// house is one package, with all that lies below it, on its floor. Packages
// inside a house may import each other; across houses imports point to a
// lower floor.
type house struct {
	path  string
	floor int
}

var houses = []house{
	{"cmd/p2pd", 5},
	{"cmd/scheduler", 5},
	{"cmd/p2pctl", 5},
	{"e2e", 5},
	{"deploy", 5},
	{"internal/daemon", 4},
	{"internal/ctl", 4},
	{"internal/access", 3},
	{"internal/cluster", 3},
	{"internal/containerd", 3},
	{"internal/cri", 3},
	{"internal/discovery", 3},
	{"internal/metrics", 3},
	{"internal/importer", 3},
	{"internal/kubernetes", 3},
	{"internal/mirror", 3},
	{"internal/origin", 3},
	{"internal/rpc", 3},
	{"internal/setup", 3},
	{"internal/store", 3},
	{"internal/transport", 3},
	{"internal/web", 3},
	{"pkg/peer", 2},
	{"internal/preheat", 2},
	{"internal/ledger", 2},
	{"pkg/scheduler/sim", 2},
	{"pkg/choice", 1},
	{"pkg/scheduler", 1},
	{"internal/egress", 1},
	{"internal/pulls", 1},
	{"internal/tracing", 1},
	{"pkg/piece", 0},
	{"internal/api", 0},
	{"internal/journal", 0},
	{"internal/histogram", 0},
	{"proto", 0},
	{"internal/member", 0},
	{"internal/secret", 0},
	{"internal/throttle", 0}, // a helper that two adapters share
}

// exceptions are imports between houses that do not point down, each with the
// reason why it may stay. There are none.
var exceptions = map[[2]string]string{}

// world says what a house may import from outside the module. Houses that are
// not listed are free.
var world = map[string]func(imported string) error{
	"pkg/piece":     onlyStandardLibrary,
	"pkg/choice":    onlyStandardLibrary,
	"pkg/scheduler": onlyStandardLibrary,
	"pkg/peer":      noSocketsNoFiles,
}

func onlyStandardLibrary(imported string) error {
	if !standard(imported) {
		return errors.New("only the standard library is allowed here")
	}
	return nil
}

func noSocketsNoFiles(imported string) error {
	top, _, _ := strings.Cut(imported, "/")
	switch {
	case imported == "net/http": // below
	case top == "os" || top == "net" || top == "syscall":
		return errors.New("the engine knows no socket and no file")
	case !standard(imported):
		return onlyStandardLibrary(imported)
	default:
		return nil
	}
	return errors.New("the engine knows no HTTP")
}

// standard reports whether an import path is the standard library's: its
// first element has no dot.
func standard(imported string) bool {
	top, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(top, ".")
}

// source is what the rules need to know of one file.
type source struct {
	name    string // below the module's root
	imports []string
}

func (s source) dir() string { return path.Dir(s.name) }
func (s source) isTest() bool {
	return strings.HasSuffix(s.name, "_test.go") || testSupport(s.dir())
}

// testSupport reports whether a package exists for tests only: fakes and
// conformance suites are in packages whose name ends in "test".
func testSupport(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

func houseOf(dir string) (house, bool) {
	i := slices.IndexFunc(houses, func(h house) bool { return dir == h.path || strings.HasPrefix(dir, h.path+"/") })
	if i < 0 {
		return house{}, false
	}
	return houses[i], true
}

// violations applies the rules to files and returns a line for each breach.
func violations(files []source) []string {
	var found []string
	for _, f := range files {
		if f.dir() == "." {
			continue // this test
		}
		from, ok := houseOf(f.dir())
		if !ok {
			found = append(found, fmt.Sprintf("%s: its package is on no floor: add it to houses", f.name))
			continue
		}
		for _, imported := range f.imports {
			if err := checkImport(f, from, imported); err != nil {
				found = append(found, fmt.Sprintf("%s imports %s: %v", f.name, imported, err))
			}
		}
	}
	return found
}

func checkImport(f source, from house, imported string) error {
	dir, inside := strings.CutPrefix(imported, module+"/")
	if !inside {
		if rule := world[from.path]; rule != nil && !f.isTest() {
			return rule(imported)
		}
		return nil
	}
	to, ok := houseOf(dir)
	switch {
	case !ok:
		return errors.New("that package is on no floor")
	case testSupport(dir):
		if !f.isTest() {
			return errors.New("only tests may import a test package")
		}
		return nil
	case to.path == "proto" && from.path != "internal/rpc":
		return errors.New("only internal/rpc sees generated code")
	case testSupport(f.dir()) && to.floor < 4: // a fake may stand on the real thing
		return nil
	case from == to || to.floor < from.floor:
		return nil
	case exceptions[[2]string{from.path, to.path}] != "":
		return nil
	}
	return fmt.Errorf("floor %d may not import floor %d", from.floor, to.floor)
}

// sources parses the imports of every Go file of this module, whatever its
// build tags are. Folders with a go.mod of their own are other modules.
func sources(root string) ([]source, error) {
	var files []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(root, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		ast, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f := source{name: filepath.ToSlash(rel)}
		for _, i := range ast.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// enter skips folders that are not part of the module.
func enter(root, dir string) error {
	if dir == root {
		return nil
	}
	if base := filepath.Base(dir); base == "testdata" || strings.HasPrefix(base, ".") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func TestImportsPointDown(t *testing.T) {
	files, err := sources(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pkg/piece/doc.go", "pkg/peer/peer.go", "internal/rpc/server.go"} {
		if !slices.ContainsFunc(files, func(f source) bool { return f.name == want }) {
			t.Errorf("did not look at %s", want)
		}
	}
	for _, v := range violations(files) {
		t.Error(v)
	}
}

// The checker itself: each of these files breaks one rule, or none.
func TestTheCheckerFinds(t *testing.T) {
	for _, tt := range []struct {
		rule, file, imported, want string
	}{
		{"down is right", "internal/daemon/node.go", module + "/pkg/peer", ""},
		{"a house is one", "internal/daemon/a/b.go", module + "/internal/daemon", ""},
		{"up is wrong", "pkg/scheduler/step.go", module + "/pkg/peer", "floor 1 may not import floor 2"},
		{"neighbours are wrong", "internal/mirror/blob.go", module + "/internal/store", "floor 3 may not import floor 3"},
		{"in tests too", "internal/mirror/blob_test.go", module + "/internal/store", "floor 3 may not import floor 3"},
		{"no floor", "internal/utils/x.go", "fmt", "its package is on no floor"},
		{"import of no floor", "internal/mirror/x.go", module + "/internal/utils", "on no floor"},
		{"pure brain", "pkg/scheduler/step.go", "github.com/libp2p/go-libp2p", "only the standard library"},
		{"pure values", "pkg/piece/layout.go", "golang.org/x/sync/errgroup", "only the standard library"},
		{"pure tests are free", "pkg/piece/layout_test.go", "pgregory.net/rapid", ""},
		{"engine and files", "pkg/peer/fetch.go", "os", "no socket and no file"},
		{"engine and sockets", "pkg/peer/fetch.go", "net/netip", "no socket and no file"},
		{"engine and HTTP", "pkg/peer/fetch.go", "net/http", "no HTTP"},
		{"engine and gRPC", "pkg/peer/fetch.go", "google.golang.org/grpc", "only the standard library"},
		{"generated code", "internal/daemon/node.go", module + "/proto/p2pd/v1", "only internal/rpc"},
		{"generated code in its place", "internal/rpc/server.go", module + "/proto/p2pd/v1", ""},
		{"fakes", "internal/store/store.go", module + "/internal/store/storetest", "only tests"},
		{"fakes in tests", "pkg/peer/peer_test.go", module + "/internal/store/storetest", ""},
		{"fakes over the real thing", "pkg/peer/peertest/net.go", module + "/internal/store", ""},
		{"fakes and generated code", "internal/rpc/rpctest/x.go", module + "/proto/p2pd/v1", ""},
		{"fakes of others and generated code", "pkg/peer/peertest/net.go", module + "/proto/p2pd/v1", "only internal/rpc"},
		{"fakes and the daemon", "pkg/peer/peertest/net.go", module + "/internal/daemon", "floor 2 may not import floor 4"},
		{"fakes in fakes", "pkg/peer/peertest/net.go", module + "/internal/store/storetest", ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			got := violations([]source{{tt.file, []string{tt.imported}}})
			if tt.want == "" {
				if diff := cmp.Diff([]string(nil), got); diff != "" {
					t.Errorf("violations (-want +got):\n%s", diff)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("got %q, want one about %q", got, tt.want)
			}
		})
	}
}

// A file below testdata, and in a module of its own, is not ours; any other is.
func TestTheCheckerLooksEverywhere(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"pkg/piece/tagged.go":     "//go:build never\n\npackage piece\n\nimport \"os\"\n",
		"pkg/piece/testdata/x.go": "package x\n",
		"tools/go.mod":            "module tools\n",
		"tools/x.go":              "package x\n",
	} {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := sources(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []source{{"pkg/piece/tagged.go", []string{"os"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(source{})); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}
