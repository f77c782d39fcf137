package discovery

import (
	"context"
	"errors"
	"sync"

	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
)

// maxRecords bounds what is held for others, at about 250 bytes each: 64 MiB. A
// cluster of ten thousand with 64 images each has 640,000 announcements, each
// held by 20: 1,280 a peer.
const maxRecords = 256 << 10

var errFull = errors.New("too many records")

// recordStore is the announcements of others, in memory: after a restart they
// come again by themselves.
type recordStore struct {
	ds.Batching
	most int

	mu sync.Mutex // guards n, and that it counts what is there
	n  int
}

func newRecords(most int) *recordStore {
	return &recordStore{Batching: dssync.MutexWrap(ds.NewMapDatastore()), most: most}
}

// Put refuses what is new when it is full.
func (r *recordStore) Put(ctx context.Context, key ds.Key, value []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, err := r.Has(ctx, key)
	if err != nil {
		return err
	}
	if !known && r.n >= r.most {
		return errFull
	}
	if err := r.Batching.Put(ctx, key, value); err != nil {
		return err
	}
	if !known {
		r.n++
	}
	return nil
}

// Delete makes room.
func (r *recordStore) Delete(ctx context.Context, key ds.Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, err := r.Has(ctx, key)
	if err != nil || !known {
		return err
	}
	r.n--
	return r.Batching.Delete(ctx, key)
}

func (r *recordStore) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
