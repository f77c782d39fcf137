package storetest_test

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T, capacity int64) peer.Store {
		return storetest.NewMemory(capacity)
	})
}

func TestMemoryEvict(t *testing.T) {
	st := storetest.NewMemory(0)
	content, d := storetest.Random(1, 1000)
	l, _ := piece.NewLayout(1000)
	in, err := st.Ingest(t.Context(), d, l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Receive(t.Context(), 0, bytes.NewReader(content), d); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := st.Evict(d); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("evict of a pinned blob gave %v", err)
	}
	_ = in.Close()
	for range 2 {
		if err := st.Evict(d); err != nil {
			t.Fatalf("evict: %v", err)
		}
	}
	if len(st.Held()) != 0 {
		t.Fatal("an evicted blob is held")
	}
}

// A Receive that waits for another must let virtual time go on.
func TestMemoryWaitsDurably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := storetest.NewMemory(0)
		content, d := storetest.Random(1, 1000)
		l, _ := piece.NewLayout(1000)
		in, err := st.Ingest(t.Context(), d, l)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		pr, pw := io.Pipe()
		var ended atomic.Int32
		for range 2 {
			go func() {
				if _, err := in.Receive(t.Context(), 0, pr, d); err != nil {
					t.Errorf("receive: %v", err)
				}
				ended.Add(1)
			}()
		}
		synctest.Wait()
		if ended.Load() != 0 {
			t.Fatal("a receive ended without bytes")
		}
		_, _ = pw.Write(content)
		synctest.Wait()
		if n := ended.Load(); n != 2 {
			t.Fatalf("%d receives ended, want 2", n)
		}
	})
}
