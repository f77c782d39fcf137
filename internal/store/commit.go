package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// errIncomplete: the whole cannot be verified without all of its pieces.
var errIncomplete = errors.New("pieces are missing")

// Verify implements peer.Ingest. Most of the work was done while pieces
// arrived.
func (in *ingest) Verify(ctx context.Context) error {
	if err := in.verify(ctx); err != nil {
		return fmt.Errorf("verify blob %s: %w", in.digest.Short(), err)
	}
	return nil
}

func (in *ingest) verify(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		switch {
		case in.proven:
			return nil
		case in.closed:
			return ErrClosed
		case in.prefix.err != nil:
			err := in.prefix.err
			in.prefix.err = nil // the next Verify tries again
			return err
		case !in.have.Full():
			return errIncomplete
		}
		if got, ok := in.sum(); ok {
			return in.judge(got)
		}
		in.advance()
		idle := in.prefix.idle
		in.mu.Unlock()
		select {
		case <-idle:
			in.mu.Lock()
		case <-ctx.Done():
			in.mu.Lock()
			return ctx.Err()
		}
	}
}

// judge says whether the blob is what it should be; mu is held. From then on
// no piece can be forgotten, so none is written.
func (in *ingest) judge(got piece.Digest) error {
	if got != in.digest {
		in.s.counts.mismatches.Add(1)
		return &piece.MismatchError{Want: in.digest, Got: got}
	}
	in.proven = true
	return nil
}

// Commit implements peer.Ingest. To commit again succeeds.
func (in *ingest) Commit(ctx context.Context) error {
	if err := in.Verify(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	in.life.Lock()
	defer in.life.Unlock()
	if in.whole { // written under life
		return nil
	}
	err := in.publish()
	// On a disk that others have filled there may not even be room for the table.
	for errors.Is(noSpace(err), peer.ErrNoSpace) && in.s.yield(in.tableRoom()) {
		err = in.publish()
	}
	if err != nil {
		return fmt.Errorf("commit blob %s: %w", in.digest.Short(), noSpace(err))
	}
	return nil
}

// tableRoom is more than the blob's table takes on a disk.
func (in *ingest) tableRoom() int64 {
	const slack = 64 << 10 // its head, whole blocks, the folder's growth
	return int64(in.layout.Count())*int64(len(piece.Digest{})) + slack
}

// publish makes a proven blob durable and gives it its name; life is held. A
// crash at any point leaves an ingest to resume or a whole blob.
func (in *ingest) publish() error {
	in.files.RLock()
	part := in.part // only the holder of life closes it
	in.files.RUnlock()
	if part == nil {
		return ErrClosed
	}
	// The bytes must be on the disk before the name says that they are: after
	// a crash a file may have its new name and still be full of zeros.
	in.s.fail.at("commit: before the sync")
	if err := errors.Join(in.s.fail.disk(), part.Sync()); err != nil {
		return err
	}
	in.s.fail.synced(partPath(in.digest))
	in.s.fail.at("commit: bytes are synced")
	// The table next, for the blob counts only with it. A table alone, left by
	// a crash here, is removed by the next start.
	in.mu.Lock()
	t := table{in.digest, in.layout, in.claims}
	in.mu.Unlock()
	if err := in.s.writeSynced(tablePath(in.digest), t.encode()); err != nil {
		in.s.remove(tablePath(in.digest))
		return err
	}
	in.s.fail.at("commit: table is synced")
	if err := in.rename(); err != nil {
		in.s.remove(tablePath(in.digest))
		return err
	}
	// The blob is here; what fails from now on does not take it back. Without
	// these a power cut could undo the rename, which costs a download. The
	// new name first, so that it is never under neither.
	for _, dir := range []string{blobsDir, ingestDir} {
		in.s.fail.at("commit: before a folder is synced")
		if err := syncDir(in.s.root, dir); err != nil {
			in.s.log.Warn("sync directory of the store", "dir", dir, "err", err)
		}
		in.s.fail.synced(dir)
	}
	in.journal.close()
	in.s.fail.at("commit: folders are synced")
	in.s.remove(journalPath(in.digest))
	in.s.fail.at("commit: journal is gone")
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	in.s.index.promote(in.e)
	return nil
}

// rename ends all writing and moves the bytes to the whole blobs. Readers
// that are open keep their descriptors.
func (in *ingest) rename() error {
	in.files.Lock()
	defer in.files.Unlock()
	if err := in.s.fail.disk(); err != nil {
		return err
	}
	if err := in.s.root.Rename(partPath(in.digest), blobPath(in.digest)); err != nil {
		return err
	}
	in.whole = true
	_ = in.part.Close() // synced before
	in.part = nil
	return nil
}
