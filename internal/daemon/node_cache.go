package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/internal/web"
	"github.com/p2pd/p2pd/pkg/piece"
)

// verifyStep is how much is read between two looks whether anybody still waits
// for a verification.
const verifyStep = 4 << 20

// Cache implements web.Node.
func (a *asked) Cache(context.Context) (api.CacheList, error) {
	list := api.CacheList{Items: []api.CacheEntry{}, StoreCapacity: a.n.store.Stats().Capacity}
	for _, l := range a.n.store.List() {
		list.Items = append(list.Items, cacheEntry(&l))
		list.StoreBytes += l.Size
	}
	if a.n.content != nil {
		for _, h := range a.n.content.Held() {
			list.Items = append(list.Items, api.CacheEntry{Digest: h.Digest.String(), Size: h.Size, Where: api.WhereContainerd, Whole: true})
		}
	}
	return list, nil
}

func cacheEntry(l *store.Listed) api.CacheEntry {
	e := api.CacheEntry{Digest: l.Digest.String(), Size: l.Size, Where: api.WhereStore, Whole: l.Whole, InUse: l.InUse, Spare: l.Spare}
	if !l.Used.IsZero() {
		used := l.Used.UTC()
		e.LastUsed = &used
	}
	return e
}

// Verify implements web.Node. One runs at a time: it reads as fast as the disk
// can.
func (a *asked) Verify(ctx context.Context, ds []piece.Digest) (api.VerifyResult, error) {
	select {
	case a.verifying <- struct{}{}:
		defer func() { <-a.verifying }()
	default:
		return api.VerifyResult{}, web.Busy()
	}
	if len(ds) == 0 {
		for _, h := range a.n.store.Held() {
			ds = append(ds, h.Digest)
		}
	}
	found := api.VerifyResult{Items: make([]api.Verdict, 0, len(ds))}
	for _, d := range ds {
		v, err := a.verify(ctx, d)
		if err != nil {
			return found, err
		}
		found.Items = append(found.Items, v)
		found.Bytes += v.Size
		if !v.OK {
			found.Damaged++
		}
	}
	return found, nil
}

// verify reads one blob. It fails only if ctx ends: what is wrong with the blob
// is its verdict.
func (a *asked) verify(ctx context.Context, d piece.Digest) (api.Verdict, error) {
	v := api.Verdict{Digest: d.String()}
	err := a.read(ctx, d, &v.Size)
	if ctx.Err() != nil {
		return v, ctx.Err()
	}
	if err == nil {
		v.OK = true
		return v, nil
	}
	v.Message = err.Error()
	if _, damaged := errors.AsType[*piece.MismatchError](err); damaged {
		a.n.log.Error("a blob of the store is damaged; it is removed", "blob", d.String(), "err", err)
		a.n.journal.Note(d.String(), time.Now(), journal.False, "the copy in the store was damaged, and is removed; look at this node's disk")
		if err := a.n.store.Evict(d); err != nil {
			v.Message += "; " + err.Error()
		} else {
			v.Message += "; it was removed, and is fetched again when somebody asks"
		}
	}
	return v, nil
}

// read reads a blob of the store and checks its digest.
func (a *asked) read(ctx context.Context, d piece.Digest, size *int64) error {
	blob, err := a.n.store.Open(d)
	if err != nil {
		return err
	}
	defer blob.Close() //nolint:errcheck // only unpins
	*size = blob.Size()
	r, err := blob.NewReader()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	hash := sha256.New()
	for {
		switch _, err := io.CopyN(hash, r, verifyStep); {
		case errors.Is(err, io.EOF):
			if got := piece.Digest(hash.Sum(nil)); got != d {
				return &piece.MismatchError{Want: d, Got: got}
			}
			return nil
		case err != nil:
			return fmt.Errorf("read blob: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// Remove implements web.Node.
func (a *asked) Remove(_ context.Context, d piece.Digest) (api.PruneResult, error) {
	for _, l := range a.n.store.List() {
		if l.Digest != d {
			continue
		}
		if err := a.evict(d); err != nil {
			return api.PruneResult{}, err
		}
		return api.PruneResult{Items: []api.CacheEntry{cacheEntry(&l)}, Bytes: l.Size}, nil
	}
	return api.PruneResult{}, web.NotHeld(d)
}

// evict removes a blob; the store's Gone tells the swarm.
func (a *asked) evict(d piece.Digest) error {
	err := a.n.store.Evict(d)
	if errors.Is(err, store.ErrInUse) {
		return web.InUse(d)
	}
	return err
}

// Prune implements web.Node.
func (a *asked) Prune(ctx context.Context, what web.PruneWhat) (api.PruneResult, error) {
	gone := api.PruneResult{Items: []api.CacheEntry{}, DryRun: what.DryRun}
	oldest := time.Now().Add(-what.UnusedFor)
	for _, l := range a.n.store.List() {
		if ctx.Err() != nil {
			return gone, ctx.Err()
		}
		if what.Spare && !l.Spare || what.Partial && l.Whole || l.Used.After(oldest) {
			continue
		}
		inUse := l.InUse
		if !inUse && !what.DryRun {
			err := a.n.store.Evict(l.Digest)
			if inUse = errors.Is(err, store.ErrInUse); err != nil && !inUse {
				return gone, err
			}
		}
		if inUse {
			gone.InUse++
			continue
		}
		gone.Items = append(gone.Items, cacheEntry(&l))
		gone.Bytes += l.Size
	}
	return gone, nil
}

var _ web.Node = (*asked)(nil)
