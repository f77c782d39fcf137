package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// containerd pulls through what `p2pd setup` wrote, beside hosts that others
// wrote, and past p2pd again after `p2pd restore`, which leaves every byte as it
// was. containerd is never restarted.
func TestSetup(t *testing.T) {
	ctx := gate(t)
	p := programs(t)
	for _, runtime := range everyVersion(ctx, t) {
		t.Run("containerd "+runtime.Version, func(t *testing.T) {
			l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 1, NodeRate: nodeRate, OriginRate: originRate}, Programs: p})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			if _, err := l.StartSwarm(ctx); err != nil {
				t.Fatal(err)
			}
			containerd, err := l.StartContainerd(ctx, 0, runtime, lab.Direct)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(containerd.HostsDir(), lab.RegistryHost, "hosts.toml")
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			run := func(args ...string) {
				t.Helper()
				args = append(args, "--certs-dir", containerd.HostsDir(), "--mirror", l.MirrorURL(0))
				cmd := l.Net.Nodes[0].Command(ctx, p.P2PD, args...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("p2pd %v: %v: %s", args, err, out)
				}
			}
			pulls := func(seed uint64, through bool) {
				t.Helper()
				img, err := l.Registry.Push(ctx, lab.ImageSpec{Repository: "lab/setup", Tag: "v1", Size: 4 << 20, Layers: 2, Synthetic: true, Seed: seed})
				if err != nil {
					t.Fatal(err)
				}
				mark, err := l.Registry.Mark(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if err := containerd.Pull(ctx, img); err != nil {
					t.Fatal(err)
				}
				tally, err := l.Registry.Since(ctx, mark)
				if err != nil {
					t.Fatal(err)
				}
				want := img.Bytes
				if through {
					want = 0
				}
				if got := tally.DirectBytes(); got != want {
					t.Errorf("pull %d: %d bytes went past p2pd, want %d of %d", seed, got, want, img.Bytes)
				}
			}
			pulls(1, false)
			run("setup", "--registry", lab.RegistryHost)
			pulls(2, true)
			run("setup", "--registry", lab.RegistryHost, "--enforce", "--exempt", "p2pd.example")
			pulls(3, true)
			run("restore")
			pulls(4, false)
			if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
				t.Errorf("restored %q (%v), want %q", after, err, before)
			}
		})
	}
}
