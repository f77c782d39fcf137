package daemon_test

import (
	"io"
	"log"
	"net/http/httptest"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// A client that knows nothing of p2pd pulls a whole image by its tag from a
// node alone, gets what was pushed, and the node ends in order.
func TestAnImageByItsTag(t *testing.T) {
	origin := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(origin.Close)
	pushed, err := random.Image(1<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	transport := client.Transport
	if err := remote.Write(tag(t, origin.Listener.Addr().String()), pushed, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}

	cfg := nodeConfig(t, &upstream{Server: origin})
	cfg.Mirror.DefaultRegistry = upstreamHost // this client tells no ns=
	n, running := startNode(t, cfg)
	pulled, err := remote.Image(tag(t, n.MirrorAddr().String()), remote.WithTransport(transport))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digest(t, pulled), digest(t, pushed); got != want {
		t.Fatalf("pulled %s, pushed %s", got, want)
	}
	if _, err := pulled.RawConfigFile(); err != nil {
		t.Error(err)
	}
	// Once: who reads a layer again while its first answer ends may have it counted as
	// from the cache.
	readLayers(t, pulled)
	until(t, "manifest, configuration and three layers are whole in the store", func() bool {
		_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
		return sample(t, page, "p2pd_cache_blobs") == "5"
	})
	until(t, "the pull is counted, and its blobs are", func() bool {
		_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
		return sample(t, page, `p2pd_image_pull_duration_seconds_count{outcome="complete",registry="registry.test"}`) == "1" &&
			sample(t, page, `p2pd_blob_duration_seconds_count{source="origin"}`) == "4" &&
			sample(t, page, `p2pd_blob_first_byte_seconds_count{source="origin"}`) != "0" &&
			sample(t, page, `p2pd_image_pulls_active`) == "0" &&
			sample(t, page, `p2pd_origin_requests_total{code="429",kind="blob_get",registry="registry.test"}`) == "0"
	})
	if err := validate.Image(pulled); err != nil { // reads every layer, twice
		t.Error(err)
	}
	running.wait(t)

	if _, err := remote.Image(tag(t, n.MirrorAddr().String()), remote.WithTransport(transport)); err == nil {
		t.Error("the node has ended and still answers")
	}
	again, _ := startNode(t, cfg) // its folder is free again
	if pulled, err = remote.Image(tag(t, again.MirrorAddr().String()), remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	origin.Close() // what follows comes from the disk
	layers, err := pulled.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		if err := validate.Layer(l); err != nil {
			t.Errorf("layer %d after a restart: %v", i, err)
		}
	}
}

// readLayers reads every layer of an image, and has it compared with its digest.
func readLayers(t *testing.T, image v1.Image) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		body, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Error(err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func tag(t *testing.T, host string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(host+"/some/image:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func digest(t *testing.T, image v1.Image) string {
	t.Helper()
	d, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}
