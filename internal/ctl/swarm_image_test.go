package ctl

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/p2pd/p2pd/internal/api"
)

// pushed is an image of two layers at a registry, by its tag.
func pushed(t *testing.T) (image string, img v1.Image) {
	t.Helper()
	origin := httptest.NewServer(fake.New(fake.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(origin.Close)
	image = origin.Listener.Addr().String() + "/team/app:1"
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = random.Image(4<<10, 2); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return image, img
}

// Of an image each blob is shown, in the order in which it is pulled, with its
// swarm, if there is one.
func TestSwarmsOfAnImage(t *testing.T) {
	image, img := pushed(t)
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	has := m.Layers[1]
	brain := scheduler()
	brain["GET /swarms/"+has.Digest.String()] = api.SwarmDetail{Swarm: api.Swarm{
		Digest: has.Digest.String(), Size: has.Size, Members: 7, Seeds: 3, Leases: 1, Progress: 0.5, Bytes: api.Bytes{Peers: 3 * has.Size, Origin: has.Size},
	}}
	where := []string{"swarm", "show", image, "--insecure", "--server", brain.serve(t)}

	code, out, stderr := run(t, append(where, "-o", "json")...)
	var all imageSwarms
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("ended with %d, %v: %s%s", code, err, out, stderr)
	}
	var what []string
	for _, b := range all.Items {
		what = append(what, b.What)
		if there := b.Digest == has.Digest.String(); there != (b.Swarm != nil) || there && b.Swarm.Members != 7 {
			t.Errorf("%s %s has the swarm %+v", b.What, b.Digest, b.Swarm)
		}
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(what, " "); got != "manifest config layer layer" || all.Digest != digest.String() || all.Bytes.Origin != has.Size {
		t.Errorf("%s, digest %s, bytes %+v", got, all.Digest, all.Bytes)
	}

	code, out, _ = run(t, where...)
	for _, want := range []string{"WHAT ", shortDigest(has.Digest.String()), " 7      3       50%", " 1.00\n", "from the registry"} {
		if !strings.Contains(out, want) {
			t.Errorf("ended with %d, and does not say %q:\n%s", code, want, out)
		}
	}
	if _, out, _ = run(t, append(where, "-o", "name")...); out != "swarm/"+has.Digest.String()+"\n" {
		t.Errorf("names: %q", out)
	}
}

// An image that nobody has, one that there is not, and what is neither.
func TestSwarmsOfNoImage(t *testing.T) {
	image, img := pushed(t)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	where := []string{"--insecure", "--server", scheduler().serve(t)}
	for arg, want := range map[string]struct {
		code int
		says string
	}{
		strings.TrimSuffix(image, ":1") + "@" + digest.String(): {0, "no connected peer holds or wants anything of it"},
		strings.TrimSuffix(image, "1") + "2":                    {1, "is the name right?"},
		"team/App:1":                                            {2, "is no image"},
	} {
		code, out, stderr := run(t, append([]string{"swarm", "show", arg}, where...)...)
		if code != want.code || !strings.Contains(out+stderr, want.says) {
			t.Errorf("%s: ended with %d: %s%s; want %d and %q", arg, code, out, stderr, want.code, want.says)
		}
	}
}
