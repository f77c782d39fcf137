package storetest

import (
	"bytes"
	"hash/maphash"
	"sync"
	"weak"
)

// partSize is how much of a blob is kept together. Pieces begin and end with one,
// but for the end of the blob.
const partSize = 256 << 10

// part is some of a blob's bytes, of partSize but for the last. A shared one is
// never changed: other blobs have it too.
type part struct {
	bytes  []byte
	shared *[]byte // nil: this blob's own
}

// shared are parts by the hash of what is in them. Clusters of tests have the same
// blob in dozens of stores, whose memory would be most of what the tests cost.
var shared = struct {
	mu   sync.Mutex
	seed maphash.Seed
	by   map[uint64]weak.Pointer[[]byte]
}{seed: maphash.MakeSeed(), by: make(map[uint64]weak.Pointer[[]byte])}

// spare are whole parts that nobody has any more.
var spare = sync.Pool{New: func() any { b := make([]byte, partSize); return &b }}

// own makes p a part of n bytes that may be changed.
func (p *part) own(n int) {
	if p.bytes != nil && p.shared == nil {
		return
	}
	before := p.bytes
	p.shared = nil
	if n == partSize {
		p.bytes = *spare.Get().(*[]byte)
	} else {
		p.bytes = make([]byte, n)
	}
	clear(p.bytes[copy(p.bytes, before):])
}

// share gives up p's own memory for that of an equal part, or offers it to others.
func (p *part) share() {
	if p.bytes == nil || p.shared != nil {
		return
	}
	key := maphash.Bytes(shared.seed, p.bytes)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if other := shared.by[key].Value(); other != nil && bytes.Equal(*other, p.bytes) {
		if own := p.bytes; len(own) == partSize {
			spare.Put(&own)
		}
		p.bytes, p.shared = *other, other
		return
	}
	own := p.bytes
	p.shared = &own
	shared.by[key] = weak.Make(p.shared)
}
