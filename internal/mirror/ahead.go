package mirror

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What a client will ask for next, its manifest tells: containerd reads a
// manifest and then its layers in their order, three at a time, from the first
// that it has not unpacked before. So the layers after one that it asks for are
// those that it will ask for; whether it has those before it cannot be known,
// with discard_unpacked_layers not even by its content store. Nothing is
// fetched for who reads the manifest alone, as many tools do.

const (
	// imageFor is how long a manifest is taken to be that of a pull: time to
	// read its configuration and to wait for a turn among other pulls.
	imageFor = 2 * time.Minute
	// maxPlaces bounds the layers that are remembered with their images, at
	// 250 bytes each: those of two hundred images, 1 MiB.
	maxPlaces = 4 << 10
	// aheadWindow is how many layers after one that is read are fetched ahead:
	// the two that are asked for at the same time, and the three after them.
	aheadWindow = 5
)

// Ahead fetches what no client has asked for yet. The peer's engine is the real
// one.
type Ahead interface {
	// Prefetch is told that a client reads a blob, and what it will likely ask
	// for next. It does not block, and need not do anything.
	Prefetch(reading piece.Digest, next []Wanted)
}

// Wanted is a blob that a client will likely ask for, and where the origin has
// it, in the name of that client.
type Wanted struct {
	Digest piece.Digest
	Size   int64
	Source peer.Source
}

// images remembers of manifests that were read a while ago what comes after
// each layer.
type images struct{ places *lru[sizeKey, place] }

// place is a layer's place in an image.
type place struct {
	next  []promise // the layers after it
	image piece.Digest
	read  time.Time // the manifest, last
}

func newImages() images { return images{newLRU[sizeKey, place](maxPlaces)} }

// learn remembers the layers of a manifest that was read in a repository. A
// layer that another image of late has too is forgotten: which of the two is
// pulled it does not tell.
func (s images) learn(host, repo string, manifest piece.Digest, layers []promise, now time.Time) {
	host, repo = strings.Clone(host), strings.Clone(repo) // as sizes.learn
	for i, l := range layers[:min(len(layers), maxPlaces)] {
		key := sizeKey{host, repo, l.digest}
		p := place{layers[i+1:], manifest, now}
		if other, ok := s.places.get(key); ok && other.image != manifest && now.Sub(other.read) < imageFor {
			p.next = nil
		}
		s.places.put(key, p)
	}
}

// after are the layers that follow d in the image that was read last.
func (s images) after(host, repo string, d piece.Digest, now time.Time) []promise {
	p, ok := s.places.get(sizeKey{host, repo, d})
	if !ok || now.Sub(p.read) > imageFor {
		return nil
	}
	return p.next[:min(len(p.next), aheadWindow)]
}

// prefetch has fetched ahead what follows the layer that x reads, as far as its
// client may have it. It waits as Access does, so it runs beside the answer.
func (m *Mirror) prefetch(ctx context.Context, x *exchange) {
	var next []Wanted
	for _, l := range m.images.after(x.host, x.target.name, x.target.digest, x.began) {
		grant, err := m.cfg.Access.Admit(ctx, x.asked(), Blob, l.digest)
		if err != nil {
			break // the client will hear of it itself, if it asks
		}
		src, err := grant.Blob(l.digest)
		if err != nil {
			break
		}
		next = append(next, Wanted{l.digest, l.size, src})
	}
	if len(next) > 0 {
		m.cfg.Ahead.Prefetch(x.target.digest, next)
	}
}

// prefetchBeside prefetches for x if it reads a blob from its beginning on, and
// not a small part of it, as those do who mount layers before they are here. The
// returned function ends that. size is the blob's.
func (m *Mirror) prefetchBeside(x *exchange, begins chunk, size int64) (end func()) {
	_, small := smallParts(x.r, x.target.digest, size)
	if m.cfg.Ahead == nil || x.r.Method != http.MethodGet || begins.off != 0 || small {
		return func() {}
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.prefetch(ctx, x)
	}()
	return func() { cancel(); <-done }
}
