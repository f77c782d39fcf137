package scheduler

import "time"

const (
	// VouchFor is how long a sighting is remembered. Nodes believe it for
	// as long as their own configuration says, a day at most.
	VouchFor = 24 * time.Hour
	// vouchesHalf bounds the memory: twice as many sightings are kept at
	// most, 4 MiB or so.
	vouchesHalf = 32 << 10
)

// VouchKey stands for one manifest of one repository, without naming either.
type VouchKey [16]byte

// Vouches are what the cluster's nodes have lately been shown by registries
// without any credential. With a registry down, other nodes may rely on it. It
// is not safe for concurrent use; times must not run backwards.
type Vouches struct {
	half int
	// Two generations: once new is full, old is forgotten, and with it all
	// that nobody has vouched for or asked for since.
	new, old map[VouchKey]time.Time
}

// NewVouches makes an empty memory.
func NewVouches() *Vouches {
	return &Vouches{half: vouchesHalf, new: make(map[VouchKey]time.Time)}
}

// Vouch takes that a node was shown what k stands for at a time.
func (v *Vouches) Vouch(k VouchKey, at time.Time) {
	if last, ok := v.last(k); ok && last.After(at) {
		at = last
	}
	if _, ok := v.new[k]; !ok && len(v.new) >= v.half {
		v.new, v.old = make(map[VouchKey]time.Time), v.new
	}
	v.new[k] = at
}

// Recall says when a node was last shown what k stands for; false: never, or
// longer ago than VouchFor.
func (v *Vouches) Recall(k VouchKey, now time.Time) (time.Time, bool) {
	at, ok := v.last(k)
	if !ok || now.Sub(at) >= VouchFor {
		return time.Time{}, false
	}
	v.Vouch(k, at) // what is asked for stays
	return at, true
}

func (v *Vouches) last(k VouchKey) (time.Time, bool) {
	if at, ok := v.new[k]; ok {
		return at, true
	}
	at, ok := v.old[k]
	return at, ok
}

// Len is how many sightings are remembered, at most.
func (v *Vouches) Len() int { return len(v.new) + len(v.old) }
