package pulls

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Whoever is told of a pull's end learns when each blob was asked for, came and
// was there, and who gave it; by the tag that the client named.
func TestRecord(t *testing.T) {
	t.Parallel()
	b := newBench()
	var got []Record
	b.cfg.Ended = func(r Record) { got = append(got, r) }
	began := b.now
	b.Named(b.now, "1.2", of("index"))
	b.wait(time.Second)
	if tag := b.TagOf(of("index")); tag != "1.2" {
		t.Errorf("the index was found by %q", tag)
	}
	b.Named(b.now, b.TagOf(of("index")), of("image"))
	b.wait(time.Second)
	asked := b.now
	b.Listed(asked, asked.Add(time.Second), of("image"), []Blob{{of("a").Digest, 100}, {of("b").Digest, 100}, {of("here").Digest, 100}, {of("had").Digest, 100}})
	b.wait(time.Second)
	b.get("a", 2*time.Second, 0, 60, func(a *Answer) { a.FromPeers, a.FromOrigin = 50, 10 })
	b.get("a", 2*time.Second, 60, 40, func(a *Answer) { a.FromPeers, a.FromOrigin = 70, 30 })
	b.get("here", time.Second, 0, 100)
	b.get("b", time.Second, 0, 0, refused)
	b.wait(quietFor + sweepEvery)
	b.Sweep(b.now)
	want := []Record{{
		Of: of("image"), Tag: "1.2", Began: began.Add(time.Second), Manifest: 2 * time.Second, Took: 8 * time.Second, Outcome: Failed, Held: 1,
		Blobs: []Arrival{
			{Digest: of("a").Digest, Size: 100, Asked: 2 * time.Second, First: 3 * time.Second, Done: 6 * time.Second, FromPeers: 70, FromOrigin: 30},
			{Digest: of("here").Digest, Size: 100, Asked: 6 * time.Second, First: 6500 * time.Millisecond, Done: 7 * time.Second, FromCache: 100},
			{Digest: of("b").Digest, Size: 100, Asked: 7 * time.Second, First: Never, Done: Never},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Manifests that nobody pulled are no news, and neither is what nobody named.
func TestNoRecord(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.cfg.Ended = func(r Record) { t.Errorf("told of %+v", r) }
	b.list("image", "a")
	b.wait(time.Hour)
	b.Sweep(b.now)
	var nobody *Tracker
	if tag := nobody.TagOf(of("image")) + b.TagOf(of("image")); tag != "" {
		t.Errorf("found by %q", tag)
	}
}
