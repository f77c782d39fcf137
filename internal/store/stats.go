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
	Evicted      Evictions
	Mismatches   int64 // pieces and whole blobs that were not what they should be
	ResumedBytes int64 // found on disk and right when an ingest was resumed
	NoSpace      int64 // ingests refused because there was no room to be had
}

// Evictions counts blobs that were removed, whole or not, by what for.
type Evictions struct {
	Capacity int64 // the store holds what it may
	Disk     int64 // the file system lacks the room that others are to have
	Operator int64 // somebody asked for it
}

// counters are what happened since Open.
type counters struct {
	mismatches, resumed, noSpace atomic.Int64

	evictedCapacity, evictedDisk, evictedOperator atomic.Int64
}

// DiskFree is how many bytes may still be written to the file system; false if
// it does not say.
func (s *Store) DiskFree() (free int64, known bool) {
	free, _, err := diskBytes(s.lock)
	return free, err == nil
}

// DiskRoom is how many bytes the store may still write before others have less
// of the file system than is kept for them; less than 0 if they have less
// already. It is false if the file system does not say.
func (s *Store) DiskRoom() (room int64, known bool) {
	free, all, err := diskBytes(s.lock)
	return free - s.keep(all), err == nil
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
		Evicted: Evictions{
			Capacity: s.counts.evictedCapacity.Load(), Disk: s.counts.evictedDisk.Load(), Operator: s.counts.evictedOperator.Load(),
		},
		Mismatches:   s.counts.mismatches.Load(),
		ResumedBytes: s.counts.resumed.Load(),
		NoSpace:      s.counts.noSpace.Load(),
	}
}
