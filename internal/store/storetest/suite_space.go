package storetest

import (
	"errors"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
)

// runSpace tests stores that have room for three blobs of 1 MiB.
func runSpace(t *testing.T, open func(t *testing.T, capacity int64) peer.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s peer.Store)
	}{
		{"the blob used longest ago goes first", evictOldest},
		{"pinned blobs stay", pinnedStay},
		{"closing a blob twice unpins it once", closeBlobTwice},
		{"open ingests stay", ingestsStay},
		{"what never became whole goes first", partialsFirst},
		{"a refused ingest evicts nothing", refusedEvictsNothing},
		{"an ingest that goes on needs no more room", resumeNeedsNoRoom},
		{"another size gives the old room back", otherSizeGivesBack},
		{"readers survive eviction", readerSurvivesEviction},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t, 3*mib)) })
	}
}

func putThree(t *testing.T, st peer.Store) (a, b, c sample) {
	t.Helper()
	a, b, c = newSample(1, mib), newSample(2, mib), newSample(3, mib)
	for _, s := range []sample{a, b, c} {
		put(t, st, s)
	}
	return a, b, c
}

func expectNoSpace(t *testing.T, st peer.Store, s sample) {
	t.Helper()
	in, err := st.Ingest(t.Context(), s.digest, s.layout)
	if err == nil {
		_ = in.Close()
	}
	if !errors.Is(err, peer.ErrNoSpace) {
		t.Fatalf("ingest of %d bytes gave %v", s.layout.Size(), err)
	}
}

func evictOldest(t *testing.T, st peer.Store) {
	a, b, c := putThree(t, st)
	closeIt(t, mustOpen(t, st, a.digest))
	d := newSample(4, mib)
	put(t, st, d)
	expectHeld(t, st, d, a, c)
	put(t, st, b) // back again
	expectHeld(t, st, b, d, a)
	readAll(t, mustReader(t, mustOpen(t, st, b.digest)), b.bytes)
}

func pinnedStay(t *testing.T, st peer.Store) {
	a, b, c := putThree(t, st)
	pa, pb := mustOpen(t, st, a.digest), mustOpen(t, st, b.digest)
	put(t, st, newSample(4, mib)) // takes the room of c
	if _, err := st.Open(c.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open gave %v", err)
	}
	expectNoSpace(t, st, newSample(5, 2*mib))
	readAll(t, mustReader(t, pa), a.bytes)
	closeIt(t, pa)
	put(t, st, newSample(5, 2*mib))
	readAll(t, mustReader(t, pb), b.bytes)
}

func closeBlobTwice(t *testing.T, st peer.Store) {
	s := newSample(1, 3*mib)
	put(t, st, s)
	one, two := mustOpen(t, st, s.digest), mustOpen(t, st, s.digest)
	closeIt(t, one)
	closeIt(t, one)
	expectNoSpace(t, st, newSample(2, mib))
	closeIt(t, two)
	begin(t, st, newSample(2, mib))
}

func ingestsStay(t *testing.T, st peer.Store) {
	a, b := newSample(1, mib), newSample(2, 2*mib)
	ia, ib := begin(t, st, a), begin(t, st, b)
	receiveAll(t, ib, b)
	expectNoSpace(t, st, newSample(3, 1))
	if err := ib.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	expectNoSpace(t, st, newSample(3, 1)) // still open
	closeIt(t, ib)
	begin(t, st, newSample(3, 1))
	if _, err := st.Open(b.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open gave %v", err)
	}
	receiveAll(t, ia, a)
	if err := ia.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func partialsFirst(t *testing.T, st peer.Store) {
	a := newSample(1, mib)
	put(t, st, a)
	old, young := newSample(2, mib), newSample(3, mib)
	for _, s := range []sample{old, young} {
		in := begin(t, st, s)
		receiveAll(t, in, s)
		closeIt(t, in)
	}
	put(t, st, newSample(4, mib)) // takes the room of old
	closeIt(t, mustOpen(t, st, a.digest))
	in := begin(t, st, young)
	expectHave(t, in, 0)
	closeIt(t, in)
	put(t, st, newSample(5, mib)) // takes the room of young, though it was used last
	expectHeld(t, st, newSample(5, mib), a, newSample(4, mib))
}

func refusedEvictsNothing(t *testing.T, st peer.Store) {
	a, b, c := putThree(t, st)
	expectNoSpace(t, st, newSample(4, 3*mib+1))
	expectHeld(t, st, c, b, a)
	p := mustOpen(t, st, a.digest)
	expectNoSpace(t, st, newSample(4, 3*mib))
	expectHeld(t, st, a, c, b)
	closeIt(t, p)
	put(t, st, newSample(4, 3*mib))
}

func resumeNeedsNoRoom(t *testing.T, st peer.Store) {
	a, b := newSample(1, 2*mib), newSample(2, mib)
	in := begin(t, st, a)
	receive(t, in, a, 0)
	closeIt(t, in)
	put(t, st, b)
	in = begin(t, st, a)
	receive(t, in, a, 1)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	expectHeld(t, st, a, b)
}

func otherSizeGivesBack(t *testing.T, st peer.Store) {
	a := newSample(1, 2*mib)
	closeIt(t, begin(t, st, a))
	b := newSample(2, mib)
	put(t, st, b)
	grown := newSample(1, 2*mib)
	grown.layout = newSample(3, mib).layout
	closeIt(t, begin(t, st, grown))
	put(t, st, newSample(4, mib))
	expectHeld(t, st, newSample(4, mib), b)
}

func readerSurvivesEviction(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	put(t, st, s)
	b := mustOpen(t, st, s.digest)
	r := mustReader(t, b)
	closeIt(t, b)
	put(t, st, newSample(2, 3*mib))
	if _, err := st.Open(s.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open gave %v", err)
	}
	readAll(t, r, s.bytes)
}
