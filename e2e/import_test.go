package e2e

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/p2pd/p2pd/e2e/lab"
)

// An image that no registry ever had, imported on one node, is pulled by the
// containerds of all.
func TestImport(t *testing.T) {
	ctx := gate(t)
	c := start(ctx, t, programs(t), newest(ctx, t), func(l *lab.Lab) (*lab.Swarm, error) {
		return l.StartSwarm(ctx, "P2PD_ACCESS_MODES="+lab.RegistryHost+"=open")
	})
	folder := filepath.Join(c.Dir, "image")
	img := writeLayout(t, folder)
	c.Registry.Kill()
	out, err := c.Net.Nodes[0].Command(ctx, programs(t).P2PD, "import", folder, "--name", lab.RegistryHost+"/"+img.Repository,
		"--local-socket", filepath.Join(c.Dir, c.Net.Nodes[0].Name, "store", "p2pd.sock")).CombinedOutput()
	if err != nil {
		t.Fatalf("import: %v: %s", err, out)
	}
	c.image = img
	c.pull(ctx, t, c.containerd)
	wanted := (nodes - 1) * img.Bytes
	if got := c.sum(ctx, t, lab.ReceivedFromPeers); got < wanted {
		t.Errorf("nodes received %d bytes from each other, want at least %d", got, wanted)
	}
}

// writeLayout writes an image for this machine as an OCI layout.
func writeLayout(t *testing.T, folder string) lab.Image {
	t.Helper()
	img, err := random.Image(4<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	to, err := layout.Write(folder, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	made := lab.Image{Repository: "lab/imported", Digest: digest.String(), Bytes: manifest.Config.Size}
	for _, l := range manifest.Layers {
		made.Bytes += l.Size
	}
	return made
}
