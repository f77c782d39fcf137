package mirror

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/pkg/peer"
)

// ended waits for the pulls that have ended, of all registries and by outcome.
func ended(t *testing.T, tr *pulls.Tracker, now time.Time, o pulls.Outcome) (n uint64) {
	t.Helper()
	for e, s := range tr.Stats(now).Took {
		if e.Outcome == o && e.Registry == testHost {
			n += s.Count()
		}
	}
	return n
}

// layered is an image of two layers and a configuration, in a world.
func layered(w *world) (manifest string, blobs []*fakeBlob, paths []string) {
	list := ""
	for i := range 3 {
		d, b := w.add(pattern(100 + i))
		blobs, paths = append(blobs, b), append(paths, blobPath(d))
		entry := fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":%d}`, d, 100+i)
		if i == 0 {
			manifest = `{"schemaVersion":2,"config":` + entry
			continue
		}
		list += "," + entry
	}
	return manifest + `,"layers":[` + list[1:] + `]}`, blobs, paths
}

// An image that is read by its index, in chunks and with a refusal that is made
// good, is one complete pull; the tracker hears who gave the bytes.
func TestAPullIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	manifest, blobs, paths := layered(w)
	image, _ := w.add([]byte(manifest))
	index, _ := w.add(fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q,"size":%d}]}`, image, len(manifest)))
	tr := pulls.New(pulls.Config{Registry: func(host string) string { return host }})
	lab := newLab(t, w, Config{Pulls: tr, Label: func(host string) string { return "label of " + host }})
	for _, path := range []string{manifestPath(index.String()), manifestPath(image.String())} {
		if a := lab.do("GET", path); a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	w.change(func() { blobs[0].given, blobs[1].given = [2]int64{60, 40}, [2]int64{0, 101} })
	lab.do("GET", paths[0])
	lab.do("GET", paths[1], "Range", "bytes=0-49")
	w.change(func() { blobs[1].err = errors.New("no route") })
	lab.do("GET", paths[1], "Range", "bytes=50-")
	w.change(func() { blobs[1].err = nil })
	lab.do("GET", paths[1], "Range", "bytes=50-")
	if n := ended(t, tr, time.Now(), pulls.Complete); n != 0 {
		t.Errorf("%d have ended with a layer missing", n)
	}
	lab.do("GET", paths[2])
	lab.end()
	if n := ended(t, tr, time.Now(), pulls.Complete); n != 1 {
		t.Errorf("%d are complete: %+v", n, tr.Stats(time.Now()).Took)
	}
	s := tr.Stats(time.Now())
	for source, want := range map[pulls.Source]uint64{pulls.FromPeer: 1, pulls.FromOrigin: 1, pulls.FromCache: 1} {
		if s.Blob[source].Count() != want || s.FirstByte[source].Count() != want {
			t.Errorf("of %s: %d blobs, %d first bytes, want %d", source, s.Blob[source].Count(), s.FirstByte[source].Count(), want)
		}
	}
	if n := lab.mirror.Stats().Requests[Ending{"label of " + testHost, Blob, Served}]; n != 4 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
}

// A layer that clients may not have makes the pull fail.
func TestAPullThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld()
	manifest, blobs, paths := layered(w)
	image, _ := w.add([]byte(manifest))
	tr := pulls.New(pulls.Config{Registry: func(host string) string { return host }})
	lab := newLab(t, w, Config{Pulls: tr})
	lab.do("GET", manifestPath(image.String()))
	lab.do("GET", paths[0])
	w.change(func() { blobs[1].err = &peer.OriginError{Status: 403} })
	lab.do("GET", paths[1])
	lab.end()
	if n := ended(t, tr, time.Now().Add(time.Hour), pulls.Failed); n != 1 {
		t.Errorf("%d have failed: %+v", n, tr.Stats(time.Now()).Took)
	}
}
