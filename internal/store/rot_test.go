package store_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// rotten is the directory of a store whose only blob has changed on the disk
// since: in its third piece.
func rotten(t *testing.T, s sample) string {
	t.Helper()
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	put(t, st, s)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, blobFile(dir, s), flip(2*mib+99))
	return dir
}

// Of a blob that an earlier life has left, what is right is given, and what is
// not costs the blob. Who reads it already goes on with what he has.
func TestRottenBlob(t *testing.T) {
	s := newSample(t, 1, 4*mib)
	dir := rotten(t, s)
	st := open(t, store.Config{Dir: dir})
	b, err := st.Open(s.digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		if err := b.Check(t.Context(), 5, 2*mib-5); err != nil {
			t.Fatalf("what is right: %v", err)
		}
	}
	if err := b.Check(t.Context(), 3*mib, 1); err != nil {
		t.Fatalf("what is right: %v", err)
	}
	if err := b.Check(t.Context(), 2*mib-1, 2); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("what is wrong: %v", err)
	}
	expectNotHeld(t, st, s)
	expectFiles(t, dir)
	if n := st.Stats().Mismatches; n != 1 {
		t.Errorf("%d mismatches counted", n)
	}
	if p, err := io.ReadAll(r); err != nil || !bytes.Equal(p[:2*mib], s.bytes[:2*mib]) {
		t.Errorf("a reader that was open got %d bytes, %v", len(p), err)
	}
	put(t, st, s)
	expectWhole(t, st, s)
}

// An ingest of a blob that is here whole does not take over what is wrong.
func TestRottenBlobIsNotAdopted(t *testing.T) {
	s := newSample(t, 1, 4*mib)
	st := open(t, store.Config{Dir: rotten(t, s)})
	if _, err := st.Ingest(t.Context(), s.digest, s.layout); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("ingest gave %v", err)
	}
	put(t, st, s)
	expectWhole(t, st, s)
}

// A node whose disk has rotted gives neither its client nor its neighbours a
// wrong byte: the client's transfer is cut, and the next one is right.
func TestRotStaysOnTheNode(t *testing.T) {
	s := newSample(t, 1, 6*mib)
	stores := []*store.Store{open(t, store.Config{Dir: rotten(t, s)}), open(t, store.Config{Dir: t.TempDir()})}
	next := 0
	c := peertest.New(peertest.Config{Nodes: 2, Seed: 1, NewStore: func() peer.Store { next++; return stores[next-1] }})
	defer c.Close()
	c.Origin.Add(s.bytes)
	other, rot := c.Nodes[1], c.Nodes[0]
	if got, err := other.Pull(t.Context(), other.Ref(s.digest, int64(len(s.bytes)))); err != nil || got != s.digest {
		t.Fatalf("the neighbour pulled %s, %v", got.Short(), err)
	}
	if st := other.Peer.Stats(); st.FalsePieces != 0 {
		t.Errorf("the neighbour was sent %d false pieces", st.FalsePieces)
	}
	for range 2 { // whichever of both has met it first
		content, err := rot.Peer.Open(t.Context(), rot.Ref(s.digest, scheduler.SizeUnknown))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		_, err = content.WriteRange(t.Context(), &got, 0, content.Size())
		if !bytes.Equal(got.Bytes(), s.bytes[:got.Len()]) {
			t.Error("the client got wrong bytes")
		}
		if err == nil && got.Len() != len(s.bytes) {
			t.Errorf("the client got %d bytes and no error", got.Len())
		}
		_ = content.Close()
	}
	if got, err := rot.Pull(t.Context(), rot.Ref(s.digest, int64(len(s.bytes)))); err != nil || got != s.digest {
		t.Errorf("in the end it pulled %s, %v", got.Short(), err)
	}
}
