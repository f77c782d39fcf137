package packages_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/p2pd/p2pd/e2e/packages"
)

const (
	hosts = "etc/containerd/certs.d/_default/hosts.toml"
	// before is what an operator has there.
	before = "# Of this node's operator.\n[host.\"https://cache.example\"]\n  capabilities = [\"pull\"]\n"
	// limit is for a whole test: ten times what it needs on an idle machine.
	limit = 8 * time.Minute
)

func gate(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("P2PD_E2E") != "1" || os.Geteuid() != 0 {
		t.Skip("machines with systemd take root and a minute: run 'sudo make e2e', or 'sudo make e2e-packages' for these tests alone")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(ctx, limit)
	t.Cleanup(cancel)
	return ctx
}

// built is where packages are that several tests install, by version.
var built sync.Map

func TestMain(m *testing.M) {
	code := m.Run()
	built.Range(func(_, dir any) bool {
		if err := os.RemoveAll(dir.(string)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return true
	})
	os.Exit(code)
}

// pack returns the folder with the packages of a version, built once for all
// tests, which run one after the other.
func pack(ctx context.Context, t *testing.T, version string) string {
	t.Helper()
	if dir, ok := built.Load(version); ok {
		return dir.(string)
	}
	dir, err := os.MkdirTemp("", "p2pd-packages-test-*")
	if err != nil {
		t.Fatal(err)
	}
	built.Store(version, dir)
	build(ctx, t, version, dir, runtime.GOARCH)
	return dir
}

// build builds the packages of a version for an architecture into dir.
func build(ctx context.Context, t *testing.T, version, dir, arch string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", "run", "./deploy/packages", "-version", version, "-out", dir, "-architectures", arch)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// root is a Debian's file tree, with containerd told to look for hosts.toml
// files, of which there is one.
func root(ctx context.Context, t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := packages.Root(ctx, dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "etc/containerd/config.toml"), `version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
`)
	write(t, filepath.Join(dir, hosts), before)
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// machine is a booted one, and the folder on it that is root's home.
type machine struct {
	*packages.Machine
	home string
}

func boot(ctx context.Context, t *testing.T, dir string) machine {
	t.Helper()
	m, err := packages.Boot(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Journal(context.WithoutCancel(ctx)))
		}
		if err := m.Halt(); err != nil {
			t.Error(err)
		}
	})
	return machine{m, filepath.Join(dir, "root")}
}

// run runs a script there, with sudo as it is for root.
func (m machine) run(ctx context.Context, t *testing.T, script string) string {
	t.Helper()
	out, err := m.Run(ctx, "sudo() { \"$@\"; }\n"+script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// eventually runs a script until it succeeds.
func (m machine) eventually(ctx context.Context, t *testing.T, script string) {
	t.Helper()
	m.run(ctx, t, "i=0; until "+script+"; do i=$((i+1)); [ $i -lt 600 ] || { echo >&2 'not within a minute'; exit 1; }; sleep 0.1; done")
}

// bring puts the packages of a folder into root's home, in place of those that
// are there.
func (m machine) bring(ctx context.Context, t *testing.T, from string) {
	t.Helper()
	m.run(ctx, t, "rm -f /root/*.deb")
	files, err := filepath.Glob(from + "/*.deb")
	if err != nil || len(files) == 0 {
		t.Fatalf("no packages in %s: %v", from, err)
	}
	for _, f := range files {
		if out, err := exec.CommandContext(ctx, "cp", f, m.home).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestDebian walks through docs/nodes.md, by its own commands, on a machine with
// systemd and containerd.
func TestDebian(t *testing.T) {
	ctx := gate(t)
	guide, err := packages.Guide("../../docs/nodes.md")
	if err != nil || len(guide["Install"]) != 2 || len(guide["Upgrade"]) != 1 || len(guide["Leave"]) != 1 {
		t.Fatalf("docs/nodes.md has other blocks of commands than two to install, one to upgrade and one to leave: %v, %v", guide, err)
	}
	dir := root(ctx, t)
	m := boot(ctx, t, dir)
	m.bring(ctx, t, pack(ctx, t, "0.1.0"))
	clean := files(t, dir)

	m.run(ctx, t, "dpkg -i p2pd_*.deb p2pd-scheduler_*.deb")
	for _, unit := range []string{"p2pd", "p2pd-scheduler"} {
		if state := m.run(ctx, t, "systemctl is-enabled "+unit+" || true; systemctl is-active "+unit+" || true"); state != "disabled\ninactive" {
			t.Errorf("%s is %q after the package was installed, want disabled and inactive", unit, state)
		}
	}
	for _, block := range guide["Install"] {
		m.run(ctx, t, strings.ReplaceAll(block, "SCHEDULER-HOST", "127.0.0.1"))
	}
	if text := read(t, dir, hosts); !strings.Contains(text, "http://127.0.0.1:7300") {
		t.Errorf("hosts.toml does not name p2pd: %s", text)
	}
	m.units(ctx, t)
	m.pull(ctx, t)
	m.reloaded(ctx, t)
	m.killed(ctx, t)
	m.upgraded(ctx, t, guide["Upgrade"][0])

	m.run(ctx, t, guide["Leave"][0])
	if text := read(t, dir, hosts); text != before {
		t.Errorf("hosts.toml is %q after the package was removed, was %q", text, before)
	}
	if left := m.run(ctx, t, "systemctl is-active p2pd || true; ls -d /var/lib/p2pd /etc/p2pd/p2pd.yaml"); left != "inactive\n/etc/p2pd/p2pd.yaml\n/var/lib/p2pd" {
		t.Errorf("after the package was removed: %s", left)
	}
	m.run(ctx, t, "dpkg --purge p2pd p2pd-scheduler p2pctl")
	if diff := cmp.Diff(clean, files(t, dir)); diff != "" {
		t.Errorf("purging leaves (+) or takes (-):\n%s", diff)
	}
}

// units: both run, under the restrictions that docs/nodes.md speaks of.
func (m machine) units(ctx context.Context, t *testing.T) {
	t.Helper()
	m.eventually(ctx, t, "systemctl is-active --quiet p2pd p2pd-scheduler")
	m.run(ctx, t, "systemd-analyze verify p2pd.service p2pd-scheduler.service")
	// In tenths of ten points, of which fewer are better.
	m.run(ctx, t, "systemd-analyze security --no-pager --threshold=21 p2pd.service")
	m.run(ctx, t, "systemd-analyze security --no-pager --threshold=17 p2pd-scheduler.service")
	if user := m.run(ctx, t, "stat -c %U /proc/$(systemctl show -P MainPID p2pd-scheduler)"); user == "root" {
		t.Error("the scheduler runs as root")
	}
	m.eventually(ctx, t, "p2pctl peer ls --no-headers | grep -q .")
}

// pull: containerd pulls an image through p2pd that p2pd alone has.
func (m machine) pull(ctx context.Context, t *testing.T) {
	t.Helper()
	image, err := random.Image(8<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(m.home, "app.tar"), tag, image); err != nil {
		t.Fatal(err)
	}
	m.run(ctx, t, "sed -i 's|^  modes: {}|  modes: {images.internal: open}|' /etc/p2pd/p2pd.yaml; systemctl restart p2pd")
	m.eventually(ctx, t, "p2pctl status >/dev/null 2>&1")
	said := m.run(ctx, t, "p2pd import app.tar --name images.internal/app --config /etc/p2pd/p2pd.yaml")
	at := strings.Index(said, "images.internal/app@sha256:")
	if at < 0 {
		t.Fatalf("p2pd import says %q", said)
	}
	ref := strings.Fields(said[at:])[0]
	m.run(ctx, t, "ctr -n k8s.io images pull --snapshotter native --hosts-dir /etc/containerd/certs.d "+ref)
	m.run(ctx, t, "p2pctl cache ls --no-headers | grep -q .")
}

// reloaded: what runs reads its configuration again, and goes on.
func (m machine) reloaded(ctx context.Context, t *testing.T) {
	t.Helper()
	pid := m.run(ctx, t, "systemctl show -P MainPID p2pd")
	m.run(ctx, t, "systemctl reload p2pd")
	m.eventually(ctx, t, "journalctl -u p2pd | grep -q 'read again'")
	if now := m.run(ctx, t, "systemctl show -P MainPID p2pd"); now != pid {
		t.Errorf("p2pd %s is %s after a reload", pid, now)
	}
}

// killed: systemd starts a p2pd anew that has died.
func (m machine) killed(ctx context.Context, t *testing.T) {
	t.Helper()
	pid := m.run(ctx, t, "systemctl show -P MainPID p2pd")
	m.run(ctx, t, "kill -KILL "+pid)
	m.eventually(ctx, t, `[ "$(systemctl show -P MainPID p2pd)" != `+pid+` ] && p2pctl status >/dev/null 2>&1`)
}

// upgraded: what ran runs again, as the new version, with the configuration that
// it had.
func (m machine) upgraded(ctx context.Context, t *testing.T, commands string) {
	t.Helper()
	m.bring(ctx, t, pack(ctx, t, "0.2.0"))
	config := read(t, m.Root, "etc/p2pd/p2pd.yaml")
	pid := m.run(ctx, t, "systemctl show -P MainPID p2pd")
	m.run(ctx, t, commands+"dpkg -i p2pd-scheduler_*.deb p2pctl_*.deb")
	m.eventually(ctx, t, `p2pctl status >/dev/null 2>&1 && p2pctl peer ls --no-headers | grep -q .`)
	if now := m.run(ctx, t, "systemctl show -P MainPID p2pd"); now == pid {
		t.Error("the old p2pd still runs after the upgrade")
	}
	if version := m.run(ctx, t, "dpkg-query -W -f '${Version}' p2pd"); version != "0.2.0" {
		t.Errorf("version %s is installed", version)
	}
	if diff := cmp.Diff(config, read(t, m.Root, "etc/p2pd/p2pd.yaml")); diff != "" {
		t.Errorf("the upgrade changed the configuration:\n%s", diff)
	}
	if text := read(t, m.Root, hosts); !strings.Contains(text, "http://127.0.0.1:7300") {
		t.Errorf("hosts.toml does not name p2pd after the upgrade: %s", text)
	}
}

// TestRPM installs, upgrades and erases by rpm, in a file tree with no systemd
// running. (Debian's tree knows no package of rpm's, so dependencies are not
// looked at.)
func TestRPM(t *testing.T) {
	ctx := gate(t)
	dir := root(ctx, t)
	rpm := func(args ...string) {
		t.Helper()
		out, err := exec.CommandContext(ctx, "rpm", append([]string{"--root", dir, "--nodeps"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("rpm %v: %v: %s", args, err, out)
		}
	}
	of := func(version string) []string {
		found, err := filepath.Glob(pack(ctx, t, version) + "/*.rpm")
		if err != nil || len(found) != 3 {
			t.Fatalf("packages %v, %v; want 3", found, err)
		}
		return found
	}
	in := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, "chroot", append([]string{dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	clean := files(t, dir)
	rpm(append([]string{"--install"}, of("0.1.0")...)...)
	if _, err := os.Lstat(filepath.Join(dir, "etc/systemd/system/multi-user.target.wants/p2pd.service")); err == nil {
		t.Error("p2pd is enabled by being installed")
	}
	in("p2pd", "check-config", "--config", "/etc/p2pd/p2pd.yaml")
	in("p2pd-scheduler", "check-config", "--config", "/etc/p2pd/scheduler.yaml")
	in("systemctl", "enable", "p2pd", "p2pd-scheduler")
	in("p2pd", "setup", "--no-probe")
	config := filepath.Join(dir, "etc/p2pd/p2pd.yaml")
	text := read(t, dir, "etc/p2pd/p2pd.yaml") + "# of the operator\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	rpm(append([]string{"--upgrade"}, of("0.2.0")...)...)
	if read(t, dir, "etc/p2pd/p2pd.yaml") != text {
		t.Error("the upgrade changed the configuration")
	}
	if text := read(t, dir, hosts); !strings.Contains(text, "http://127.0.0.1:7300") {
		t.Errorf("hosts.toml does not name p2pd after the upgrade: %s", text)
	}

	rpm("--erase", "p2pd", "p2pd-scheduler", "p2pctl")
	if text := read(t, dir, hosts); text != before {
		t.Errorf("hosts.toml is %q after the package was erased, was %q", text, before)
	}
	// rpm keeps what the operator has changed, under another name; and folders
	// that belong to shells which are not installed here.
	want := append(slices.Clone(clean), "etc/p2pd/", "etc/p2pd/p2pd.yaml.rpmsave",
		"usr/share/fish/", "usr/share/fish/vendor_completions.d/", "usr/share/zsh/site-functions/")
	slices.Sort(want)
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("erasing leaves (+) or takes (-):\n%s", diff)
	}
}

// TestSameBytes: what is built twice is the same, and its manual pages are such
// that man takes them.
func TestSameBytes(t *testing.T) {
	ctx := gate(t)
	first, second := pack(ctx, t, "0.1.0"), t.TempDir()
	build(ctx, t, "0.1.0", second, runtime.GOARCH)
	files, err := os.ReadDir(first)
	if err != nil || len(files) != 6 {
		t.Fatalf("%d packages, %v; want 6", len(files), err)
	}
	for _, f := range files {
		if a, b := read(t, first, f.Name()), read(t, second, f.Name()); a != b {
			t.Errorf("%s differs from one build to the next", f.Name())
		}
	}
	dir := t.TempDir()
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".deb") {
			if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", filepath.Join(first, f.Name()), dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	pages, err := filepath.Glob(dir + "/usr/share/man/man?/*.gz")
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d manual pages, %v", len(pages), err)
	}
	for _, page := range pages {
		checkPage(ctx, t, page)
	}
}

// checkPage has groff format a page, which must find nothing to say about it.
func checkPage(ctx context.Context, t *testing.T, page string) {
	t.Helper()
	f, err := os.Open(page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "groff", "-man", "-Tutf8", "-K", "utf8", "-ww", "-z")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v: %s", filepath.Base(page), err, out)
	}
}

func read(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files are those below a root that packages may put there; folders end in "/".
func files(t *testing.T, root string) []string {
	t.Helper()
	// What package managers, systemd and containerd write for themselves.
	others := []string{"var/lib/dpkg", "usr/lib/sysimage/rpm", "var/lib/rpm", "var/lib/systemd", "var/lib/containerd", "var/cache", "var/lib/private"}
	var all []string
	for _, top := range []string{"etc", "usr", "var/lib"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, name)
			switch {
			case err != nil:
				return err
			case slices.Contains(others, rel):
				return filepath.SkipDir
			case d.IsDir():
				rel += "/"
			}
			all = append(all, rel)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if private, err := os.ReadDir(filepath.Join(root, "var/lib/private")); err == nil {
		for _, d := range private {
			all = append(all, fmt.Sprint("var/lib/private/", d.Name()))
		}
	}
	slices.Sort(all)
	return all
}
