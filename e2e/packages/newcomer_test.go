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

// TestNewcomer clones the repository on a machine with git, make and Go, and runs the
// first command of the README: it installs what is missing, and builds the rest.
func TestNewcomer(t *testing.T) {
	if os.Getenv("P2PD_E2E_NEWCOMER") != "1" || os.Geteuid() != 0 {
		t.Skip("a clean machine downloads and builds everything: run 'sudo make e2e-newcomer'")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	readme, err := packages.Guide("../../README.md")
	if err != nil || len(readme["See it"]) != 1 {
		t.Fatalf("README.md has %d blocks of commands to see it, want the demo alone: %v", len(readme["See it"]), err)
	}
	dir := filepath.Join(t.TempDir(), "root")
	m, err := packages.NewClean(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	bundle := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "bundle", "create", "-q", m.Path("/root/p2pd.bundle"), "HEAD")
	bundle.Dir = "../.."
	if out, err := bundle.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	began := time.Now()
	err = m.Run(ctx, "cd; git clone -q p2pd.bundle p2pd; cd p2pd; "+readme["See it"][0], out)
	text, _ := os.ReadFile(out.Name())
	if err != nil || !strings.Contains(string(text), "copies") {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%.0f s after the clone:\n%s", time.Since(began).Seconds(), text)
}
