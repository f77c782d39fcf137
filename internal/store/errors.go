package store

import "errors"

// Errors beside those of package peer that callers can test for.
var (
	// ErrIngestOpen: the blob is being received already. There is one open
	// ingest a digest, so that no two writers disagree about a piece.
	ErrIngestOpen = errors.New("blob is being received already")
	// ErrInUse: the blob is pinned and cannot be evicted now.
	ErrInUse = errors.New("blob is in use")
	// ErrClosed: the store, or the ingest, has been closed.
	ErrClosed = errors.New("store is closed")
	// ErrProven: a piece of a blob that verified as a whole cannot be false.
	ErrProven = errors.New("blob is proven")
)
