package daemon_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// Who reads a manifest and the first layer of an image has the others brought
// from the peer that holds them; who reads the manifest alone, nothing.
func TestTheLayersAfterOneThatIsRead(t *testing.T) {
	origin := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(origin.Close)
	pushed, err := random.Image(3<<20, 4)
	if err != nil {
		t.Fatal(err)
	}
	transport := client.Transport
	if err := remote.Write(tag(t, origin.Listener.Addr().String()), pushed, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	hub := startHub(t)
	// pull reads the manifest of the image through a new node.
	pull := func() (image v1.Image, metric func(string) string) {
		cfg := nodeConfig(t, &upstream{Server: origin})
		cfg.Mirror.Prefetch = true
		cfg.Mirror.DefaultRegistry = upstreamHost // this client tells no ns=
		hub.lets(&cfg)
		n, _ := startNode(t, cfg)
		metric = func(name string) string {
			_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
			return sample(t, page, name)
		}
		until(t, "the scheduler is attached", func() bool { return metric("p2pd_scheduler_connected") == "1" })
		if image, err = remote.Image(tag(t, n.MirrorAddr().String()), remote.WithTransport(transport)); err != nil {
			t.Fatal(err)
		}
		return image, metric
	}

	first, metric := pull()
	if err := validate.Image(first); err != nil { // reads every layer
		t.Fatal(err)
	}
	until(t, "all is whole in the store", func() bool { return metric("p2pd_cache_blobs") == "6" })

	second, metric := pull()
	until(t, "the manifest is whole in the store", func() bool { return metric("p2pd_downloads_active") == "0" })
	if got := metric("p2pd_cache_blobs"); got != "1" {
		t.Errorf("%s blobs are here for who read the manifest alone", got)
	}
	layers, err := second.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Layer(layers[0]); err != nil {
		t.Fatal(err)
	}
	until(t, "the other layers have come, too", func() bool { return metric(`p2pd_prefetches_total{outcome="complete"}`) == "3" })
	var want int64
	for _, l := range layers[1:] {
		size, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		want += size
	}
	if got := metric("p2pd_prefetched_bytes_total"); got != strconv.FormatFloat(float64(want), 'g', -1, 64) {
		t.Errorf("%s bytes came before they were asked for, want %d", got, want)
	}
	origin.Close() // what follows comes from the disk
	for i, l := range layers[1:] {
		if err := validate.Layer(l); err != nil {
			t.Errorf("layer %d: %v", i+1, err)
		}
	}
	if got := metric(`p2pd_prefetches_total{outcome="given_up"}`); got != "0" {
		t.Errorf("%s were given up", got)
	}
}
