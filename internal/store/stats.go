package store

import "sync/atomic"

// Stats is a snapshot of a Store.
type Stats struct {
	// What is here now.
	Capacity     int64
	WholeBytes   int64 // of whole blobs
	PartialBytes int64 // reserved for blobs that are not whole
	Blobs        int   // whole
	Partials     int   // not whole, being received or not
	OpenIngests  int

	// What happened since Open.
	Evictions    int64 // blobs removed, whole or not
	Mismatches   int64 // pieces and whole blobs that were not what they should be
	ResumedBytes int64 // found on disk and right when an ingest was resumed
	NoSpace      int64 // ingests refused because there was no room to be had
}

// counters are what happened since Open.
type counters struct {
	evictions, mismatches, resumed, noSpace atomic.Int64
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for _, e := range s.index.entries {
		if e.ingest != nil {
			open++
		}
	}
	return Stats{
		Capacity:     s.index.capacity,
		WholeBytes:   s.index.whole.bytes,
		PartialBytes: s.index.partial.bytes,
		Blobs:        s.index.whole.count,
		Partials:     s.index.partial.count,
		OpenIngests:  open,
		Evictions:    s.counts.evictions.Load(),
		Mismatches:   s.counts.mismatches.Load(),
		ResumedBytes: s.counts.resumed.Load(),
		NoSpace:      s.counts.noSpace.Load(),
	}
}
