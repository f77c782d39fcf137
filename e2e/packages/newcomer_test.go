package packages_test

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/packages"
)

// limitClean is for one command of the README on a clean machine, which downloads and
// builds everything: five times what it needs on two idle cores.
const limitClean = 2 * time.Hour

// newcomer is a machine with git, make and Go, with the repository to clone in
// /srv/p2pd.bundle, and a user who is not root.
type newcomer struct {
	*packages.Clean
	t *testing.T
}

func openNewcomer(t *testing.T) (context.Context, newcomer) {
	t.Helper()
	if os.Getenv("P2PD_E2E_NEWCOMER") != "1" || os.Geteuid() != 0 {
		t.Skip("a clean machine downloads and builds everything: run 'sudo make e2e-newcomer'")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(ctx, limitClean)
	t.Cleanup(cancel)
	m, err := packages.NewClean(ctx, filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	bundle := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "bundle", "create", "-q", m.Path("/srv/p2pd.bundle"), "HEAD")
	bundle.Dir = "../.."
	if out, err := bundle.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n := newcomer{m, t}
	if text, err := n.run(ctx, "useradd --create-home newcomer"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return ctx, n
}

// run runs a script there as root, and returns what it says.
func (n newcomer) run(ctx context.Context, script string) (string, error) {
	n.t.Helper()
	out, err := os.Create(filepath.Join(n.t.TempDir(), "out"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	failed := n.Run(ctx, script, out)
	text, err := os.ReadFile(out.Name())
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text), failed
}

// user is a script that runs another as the user who is not root.
func user(script string) string {
	return "runuser -u newcomer -- env HOME=/home/newcomer bash -euc '" + script + "'"
}

// command is the one command of the README below a heading.
func command(t *testing.T, heading string) string {
	t.Helper()
	readme, err := packages.Guide("../../README.md")
	if err != nil || len(readme[heading]) != 1 {
		t.Fatalf("README.md has %d blocks of commands below %q, want 1: %v", len(readme[heading]), heading, err)
	}
	return readme[heading][0]
}

// TestNewcomer clones the repository on a machine with git, make and Go, and runs the
// first command of the README: it installs what is missing, and builds the rest.
func TestNewcomer(t *testing.T) {
	see := command(t, "See it")
	ctx, n := openNewcomer(t)
	began := time.Now()
	text, err := n.run(ctx, "cd; git clone -q /srv/p2pd.bundle p2pd; cd p2pd; "+see)
	if err != nil || !strings.Contains(text, "copies") {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%.0f s after the clone:\n%s", time.Since(began).Seconds(), text)
}

// TestNewcomerTests runs the second command of the README as a user who is not root. It
// says what root must install first, and what it leaves out.
func TestNewcomerTests(t *testing.T) {
	tests := command(t, "Test it")
	ctx, n := openNewcomer(t)
	began := time.Now()
	text, err := n.run(ctx, user("cd; git clone -q /srv/p2pd.bundle p2pd; cd p2pd; "+tests))
	_, advice, told := strings.Cut(text, "on Debian, as root: ")
	advice, _, ends := strings.Cut(advice, ")")
	if err == nil || !told || !ends {
		t.Fatalf("without a compiler: %v, want a word on what to install in:\n%s", err, text)
	}
	if text, err := n.run(ctx, "apt-get update -q; DEBIAN_FRONTEND=noninteractive "+strings.Replace(advice, " install ", " install -y ", 1)); err != nil {
		t.Fatalf("%s: %v\n%s", advice, err, text)
	}
	text, err = n.run(ctx, user("cd ~/p2pd; "+tests))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, left := range []string{"SKIPPED: the live page in Chromium", "SKIPPED: the end-to-end tier"} {
		if !strings.Contains(text, left) {
			t.Errorf("it does not say %q", left)
		}
	}
	t.Logf("%.0f s after the clone, with %q before:\n%s", time.Since(began).Seconds(), advice, text)
}
