//go:build p2pd_faults

package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// While the disk fails nothing is taken for received or whole, and whoever wants it is told
// so; once it works again the work goes on.
func TestFaultsFailingDisk(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	t.Setenv("P2PD_FAULT_STORE_EIO", broken)
	st := open(t, store.Config{Dir: t.TempDir()})
	s := newSample(t, 1, 2*mib)
	in := begin(t, st, s)
	take := func(i int) error {
		_, err := in.Receive(t.Context(), i, bytes.NewReader(s.piece(i)), piece.Sum(s.piece(i)))
		return err
	}
	fail := func() {
		if err := os.WriteFile(broken, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mend := func() {
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
	}
	fail()
	if err, have := take(0), in.Have(); !errors.Is(err, syscall.EIO) || !errors.Is(err, peer.ErrDisk) || have.Count() > 0 {
		t.Fatalf("a piece that cannot be written: %v; %d are here", err, have.Count())
	}
	mend()
	if err := errors.Join(take(0), take(1)); err != nil {
		t.Fatal(err)
	}
	fail()
	if err := in.Commit(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a blob that cannot be synced: %v", err)
	}
	if held := st.Held(); len(held) > 0 {
		t.Fatalf("it is held: %v", held)
	}
	mend()
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held := st.Held(); len(held) != 1 {
		t.Fatalf("held: %v", held)
	}
}
