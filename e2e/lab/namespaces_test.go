package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getenv("P2PD_E2E") != "1" || os.Geteuid() != 0 {
		t.Skip("makes network namespaces: set P2PD_E2E=1 as root, or run 'sudo make e2e'")
	}
}

// A network carries bytes between its places, holds them to the rate, and
// leaves nothing behind, whatever still runs in it.
func TestNamespaces(t *testing.T) {
	needRoot(t)
	prefix := fmt.Sprintf(runName+"test", os.Getpid())
	n, err := newNamespaces(t.Context(), prefix, Shape{Nodes: 2, NodeRate: 50e6, OriginRate: 100e6})
	if err != nil {
		t.Fatal(err)
	}
	l := bare(t)
	p, err := l.Start(n.Nodes[0], Spec{Name: "server", Args: []string{"busybox", "httpd", "-f", "-p", n.Nodes[0].At(80), "-h", l.Dir}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitReady(t.Context(), func(ctx context.Context) error {
		return get(ctx, n.Nodes[1].HTTPClient(), "http://"+n.Nodes[0].At(80)+"/server.log")
	}); err != nil {
		t.Error(err)
	}
	for _, at := range [][2]string{{n.Nodes[0].Netns, "eth0"}, {prefix + "-hub", "n1"}} {
		out, err := run(t.Context(), "tc", "-n", at[0], "qdisc", "show", "dev", at[1])
		if err != nil || !strings.Contains(out, "tbf") || !strings.Contains(out, "rate 50Mbit") {
			t.Errorf("%s of %s is not shaped: %s %v", at[1], at[0], out, err)
		}
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(netnsDir, prefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	<-p.done // it was killed with its network
	if err := n.Close(context.Background()); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// What a dead run left is removed once, also by labs that open at the same instant.
func TestLabsCleanUpSideBySide(t *testing.T) {
	needRoot(t)
	const dead = 1 << 30 // above any pid
	for i := range 4 {
		if _, err := run(t.Context(), "ip", "netns", "add", fmt.Sprintf("p2pd-lab-%d-side%d", dead, i)); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := removeStale(t.Context(), BaseDir()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if left := leftOvers(netnsDir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
