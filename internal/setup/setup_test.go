package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const containerd2 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/etc/containerd/certs.d'\n"

// node is a file system with these files; names that end in / are folders.
func node(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// tree is all that there is below root, with modes.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	seen := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			seen[name+"/"] = info.Mode().String()
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			seen[name] = "-> " + to
			return err
		default:
			text, err := os.ReadFile(path)
			seen[name] = info.Mode().String() + " " + string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// cases are nodes before setup, and how it is called there.
var cases = map[string]struct {
	files map[string]string
	cfg   Config
}{
	"no certs.d":      {map[string]string{"etc/containerd/config.toml": containerd2}, Config{}},
	"empty certs.d":   {map[string]string{"etc/containerd/config.toml": containerd2, "etc/containerd/certs.d/": ""}, Config{}},
	"two registries":  {map[string]string{"etc/containerd/config.toml": containerd2}, Config{Registries: []string{"docker.io", "reg.example:5000"}}},
	"foreign default": {map[string]string{"etc/containerd/config.toml": containerd2, "etc/containerd/certs.d/_default/hosts.toml": foreign[3]}, Config{}},
	"existing ones": {map[string]string{
		"etc/containerd/config.toml":                          containerd2,
		"etc/containerd/certs.d/docker.io/hosts.toml":         foreign[2],
		"etc/containerd/certs.d/reg.example_5000_/hosts.toml": foreign[5],
		"etc/containerd/certs.d/reg.example_5000_/ca.crt":     "x",
	}, Config{Existing: true}},
	"enforced": {map[string]string{"etc/containerd/config.toml": containerd2, "etc/containerd/certs.d/r.example/hosts.toml": foreign[1]}, Config{
		Registries: []string{"r.example", "new.example"}, Enforce: true, Exempt: []string{"p2pd.example"},
	}},
	"by override": {map[string]string{"srv/": ""}, Config{CertsDir: "/srv/certs.d", Node: "n1"}},
}

func TestSetupAndRestore(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			root := node(t, c.files)
			before := tree(t, root)
			cfg := c.cfg
			cfg.Files, cfg.Root, cfg.Mirror = Disk{}, root, testMirror
			done, err := Setup(t.Context(), cfg)
			if err != nil || len(done) == 0 {
				t.Fatalf("%v, %v", done, err)
			}
			for _, e := range done {
				text, err := os.ReadFile(e.File)
				if err != nil {
					t.Fatal(err)
				}
				if got := firstHost(t, text); got != testMirror {
					t.Errorf("%s: %s is asked first", e.File, got)
				}
			}
			after := tree(t, root)
			if _, err := Setup(t.Context(), cfg); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(after, tree(t, root)); diff != "" {
				t.Errorf("a second setup changes things (-first +second):\n%s", diff)
			}
			entries, err := Status(t.Context(), cfg)
			ours := 0
			for _, e := range entries {
				if e.State == StateOurs {
					ours++
				}
			}
			if err != nil || ours != len(done) {
				t.Errorf("status says %+v (%v) after %d were set up", entries, err, len(done))
			}
			if _, err := Restore(t.Context(), cfg); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("restore does not (-before +after):\n%s", diff)
			}
		})
	}
}

// dying is a machine that dies at the n-th change to its disk. Then nothing
// more happens; the change itself may have been made in part.
type dying struct {
	Disk
	left int
	part bool
}

var errDied = errors.New("the machine died")

func (d *dying) live(do func() error) error {
	switch {
	case d.left <= 0:
		return errDied
	case d.left == 1:
		d.left = 0
		if d.part {
			_ = do()
		}
		return errDied
	}
	d.left--
	return do()
}

func (d *dying) Mkdir(name string) error { return d.live(func() error { return d.Disk.Mkdir(name) }) }
func (d *dying) Rename(from, to string) error {
	return d.live(func() error { return d.Disk.Rename(from, to) })
}
func (d *dying) Remove(name string) error { return d.live(func() error { return d.Disk.Remove(name) }) }
func (d *dying) Sync(dir string) error    { return d.live(func() error { return d.Disk.Sync(dir) }) }
func (d *dying) Write(name string, data []byte, like string) error {
	dies := d.left == 1
	return d.live(func() error {
		if dies {
			data = data[:len(data)/2]
		}
		return d.Disk.Write(name, data, like)
	})
}

// Whenever the machine dies, no file that a runtime reads is broken, setup
// can be done again, and restore brings back every byte.
func TestDeathAtEveryStep(t *testing.T) {
	for name, c := range cases {
		for _, phase := range []string{"setup", "restore"} {
			for _, part := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, phase, part), func(t *testing.T) {
					for step := 1; ; step++ {
						if !dieAt(t, c.files, c.cfg, phase, step, part) {
							if step == 1 {
								t.Error("nothing was changed")
							}
							return
						}
					}
				})
			}
		}
	}
}

// dieAt reports whether the machine died.
func dieAt(t *testing.T, files map[string]string, cfg Config, phase string, step int, part bool) bool {
	t.Helper()
	root := node(t, files)
	before := tree(t, root)
	cfg.Root, cfg.Mirror = root, testMirror
	cfg.Files = Disk{}
	d := &dying{left: step, part: part}
	var err error
	if phase == "setup" {
		cfg.Files = d
		_, err = Setup(t.Context(), cfg)
	} else {
		if _, err := Setup(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Files = d
		_, err = Restore(t.Context(), cfg)
	}
	died := errors.Is(err, errDied)
	if err != nil && !died {
		t.Fatalf("step %d: %v", step, err)
	}
	cfg.Files = Disk{}
	for path, text := range tree(t, root) {
		if filepath.Base(path) == hostsName && !strings.Contains(path, temporary) {
			_, text, _ = strings.Cut(text, " ")
			if _, err := readHosts([]byte(text), testMirror); err != nil {
				t.Errorf("step %d: %s %v:\n%s", step, path, err, text)
			}
		}
	}
	if phase == "setup" {
		if _, err := Setup(t.Context(), cfg); err != nil {
			t.Errorf("step %d: again: %v", step, err)
		}
	}
	if _, err := Restore(t.Context(), cfg); err != nil {
		t.Errorf("step %d: restore: %v", step, err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("step %d of %s: restore does not (-before +after):\n%s", step, phase, diff)
	}
	return died
}

func TestConcurrentRuns(t *testing.T) {
	root := node(t, cases["existing ones"].files)
	before := tree(t, root)
	cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror, Existing: true}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := Setup(t.Context(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := Restore(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("restore does not (-before +after):\n%s", diff)
	}
}

func TestForeignEditsBetweenSetupAndRestore(t *testing.T) {
	root := node(t, cases["no certs.d"].files)
	cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror}
	done, err := Setup(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(done[0].File, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const theirs = "[host.\"https://theirs.example\"]\n"
	if _, err := f.WriteString(theirs); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(done[0].File); err != nil || string(text) != theirs {
		t.Errorf("left %q (%v), want %q", text, err, theirs)
	}
}

func TestALinkedFileStaysALink(t *testing.T) {
	root := node(t, map[string]string{"etc/containerd/config.toml": containerd2, "shared/hosts.toml": foreign[1], "etc/containerd/certs.d/_default/": ""})
	link := filepath.Join(root, "etc/containerd/certs.d/_default/hosts.toml")
	if err := os.Symlink("../../../../shared/hosts.toml", link); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror}
	if _, err := Setup(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to == "" {
		t.Errorf("the link is gone: %v", err)
	}
	if _, err := Restore(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("restore does not (-before +after):\n%s", diff)
	}
}

// What would not work is refused, says why, and changes nothing.
func TestRefusals(t *testing.T) {
	const registry2 = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
	for name, c := range map[string]struct {
		files map[string]string
		cfg   Config
		want  string // in the error
	}{
		"no configuration": {nil, Config{}, "config_path = \"/etc/containerd/certs.d\""},
		"no config_path":   {map[string]string{"etc/containerd/config.toml": registry2}, Config{}, "sets no config_path"},
		"two folders": {map[string]string{"etc/containerd/config.toml": strings.Replace(containerd2, "certs.d'", "certs.d:/etc/docker/certs.d'", 1)},
			Config{}, "transfer service"},
		"older mirrors": {map[string]string{"etc/containerd/config.toml": registry2 + "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n  endpoint = [\"https://m\"]\n"},
			Config{}, "registry.mirrors"},
		"not TOML": {map[string]string{"etc/containerd/config.toml": "version = "}, Config{}, "line 1"},
		"hidden": {map[string]string{"etc/containerd/config.toml": containerd2, "etc/containerd/certs.d/docker.io/hosts.toml": ""},
			Config{}, "docker.io"},
		"broken hosts.toml": {map[string]string{"etc/containerd/config.toml": containerd2, "etc/containerd/certs.d/_default/hosts.toml": "server ="},
			Config{}, "containerd ignores it"},
		"enforced for all":    {map[string]string{"etc/containerd/config.toml": containerd2}, Config{Enforce: true}, "name the registries"},
		"enforced for exempt": {map[string]string{"etc/containerd/config.toml": containerd2}, Config{Enforce: true, Registries: []string{"r.example"}, Exempt: []string{"r.example"}}, "exempt"},
		"not a registry":      {nil, Config{Registries: []string{"../x"}}, "HOST:PORT"},
		"not a mirror":        {nil, Config{Mirror: "127.0.0.1:7300"}, "http://HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			root := node(t, c.files)
			before := tree(t, root)
			cfg := c.cfg
			cfg.Files, cfg.Root = Disk{}, root
			if cfg.Mirror == "" {
				cfg.Mirror = testMirror
			}
			if _, err := Setup(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("something was changed:\n%s", diff)
			}
		})
	}
}

func TestContainerdsConfiguration(t *testing.T) {
	const path2 = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/certs\"\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"1.x":                   {map[string]string{"config.toml": "version = 2\n" + path2}, "/certs"},
		"without a version":     {map[string]string{"config.toml": path2}, "/certs"},
		"2.x":                   {map[string]string{"config.toml": containerd2}, "/etc/containerd/certs.d"},
		"2.4":                   {map[string]string{"config.toml": strings.Replace(containerd2, "3", "4", 1)}, "/etc/containerd/certs.d"},
		"imported by a glob":    {map[string]string{"config.toml": "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", "conf.d/a.toml": path2, "conf.d/b.txt": "x"}, "/certs"},
		"imported, relative":    {map[string]string{"config.toml": "version = 2\nimports = [\"more.toml\"]\n", "more.toml": path2}, "/certs"},
		"what is imported wins": {map[string]string{"config.toml": "version = 2\nimports = [\"more.toml\"]\n" + path2, "more.toml": strings.Replace(path2, "/certs", "/other", 1)}, "/other"},
		"imports itself":        {map[string]string{"config.toml": "version = 2\nimports = [\"*.toml\"]\n" + path2}, "/certs"},
		"two folders, local pull": {map[string]string{"config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images']\n  use_local_image_pull = true\n" +
			"[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/certs:/other'\n"}, "/certs"},
	} {
		t.Run(name, func(t *testing.T) {
			files := make(map[string]string)
			for n, text := range c.files {
				files["etc/containerd/"+n] = text
			}
			root := node(t, files)
			got, err := readContainerd(Disk{}, root, DefaultContainerdConfig)
			if err != nil {
				t.Fatal(err)
			}
			if dir, err := got.certsDir("config.toml"); err != nil || dir != c.want {
				t.Errorf("%q, %v; want %q", dir, err, c.want)
			}
		})
	}
}

// What keeps a file that names the mirror from its effect is noted.
func TestStatusNotesWhatIsWrong(t *testing.T) {
	t.Parallel()
	const ours = "[host.\"" + testMirror + "\"]\n"
	for name, c := range map[string]struct {
		text, state, note, since string
	}{
		"all capabilities":      {ours, StateByHand, "", ""},
		"those that are wanted": {ours + "capabilities = [\"pull\", \"resolve\"]\n", StateByHand, "", ""},
		"too few":               {ours + "capabilities = [\"resolve\"]\n", StateByHand, "give it both", ""},
		"a new one":             {ours + "capabilities = [\"pull\", \"resolve\", \"referrers\"]\n", StateByHand, "", "2.2"},
		"a new one, elsewhere":  {ours + "[host.\"https://r.example\"]\ncapabilities = [\"referrers\"]\n", StateByHand, "", "2.2"},
		"one that is none":      {ours + "capabilities = [\"pul\"]\n", StateOther, "\"pul\", which there is not", ""},
		"the server's":          {"capabilities = [\"all\"]\n" + ours, StateOther, "\"all\", which there is not", ""},
		"another is first":      {"[host.\"https://r.example\"]\n" + ours, StateByHand, "https://r.example asked before", ""},
		"another alone":         {"[host.\"https://r.example\"]\n", StateOther, "does not name " + testMirror, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := node(t, map[string]string{"etc/containerd/config.toml": containerd2, "etc/containerd/certs.d/_default/hosts.toml": c.text})
			all, err := Status(t.Context(), Config{Files: Disk{}, Root: root, Mirror: testMirror})
			if err != nil || len(all) != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
			if e := all[0]; e.State != c.state || e.Since != c.since || !strings.Contains(e.Note, c.note) || c.note == "" && e.Note != "" {
				t.Errorf("%+v, want %+v", e, c)
			}
		})
	}
}
