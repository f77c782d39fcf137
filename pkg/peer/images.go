package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// What a node holds it announces by the image, whether or not a scheduler is
// there: when that dies it is too late. A key for each layer of each node would
// be half a million announcements a second in a cluster of ten thousand; an
// image has one key, and whoever holds it has likely all of its layers.

const (
	// maxImages bounds the images that a node announces: the last used.
	// Renewing 64 of them every 8 minutes is an announcement in 8 s.
	maxImages = 64
	// maxImageBlobs bounds what is remembered of one image: an index lists a
	// manifest a platform, a manifest a layer each, 127 at most.
	maxImageBlobs = 256
	// renewAfter leaves a record of a quarter of an hour time for a second try.
	renewAfter = 8 * time.Minute
	// imagesEvery is how often new images and those due are looked for.
	imagesEvery = 5 * time.Second
	// announceFor bounds one announcement.
	announceFor = 10 * time.Second
)

// images are the images of which this node has seen the manifest.
type images struct {
	mu    sync.Mutex // guards what follows
	known []*image   // used last comes last
}

type image struct {
	manifest  piece.Digest
	blobs     []piece.Digest
	announced time.Time
}

// LearnImage takes what a manifest lists, so that its blobs can be looked for
// where the image is. Of an index that is the manifests.
func (p *Peer) LearnImage(manifest piece.Digest, blobs []piece.Digest) {
	p.images.learn(manifest, slices.Clone(blobs[:min(len(blobs), maxImageBlobs)]))
}

func (s *images) learn(manifest piece.Digest, blobs []piece.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	im := &image{manifest: manifest, blobs: blobs}
	if i := slices.IndexFunc(s.known, func(o *image) bool { return o.manifest == manifest }); i >= 0 {
		im.announced = s.known[i].announced
		s.known = slices.Delete(s.known, i, i+1)
	}
	if len(s.known) >= maxImages {
		s.known = slices.Delete(s.known, 0, 1)
	}
	s.known = append(s.known, im)
}

// of are the images, used last first, that a blob may be found with: it is one,
// for all that is known, or one lists it. There are two at most.
func (s *images) of(d piece.Digest) []piece.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, im := range slices.Backward(s.known) {
		if slices.Contains(im.blobs, d) {
			if slices.ContainsFunc(s.known, func(o *image) bool { return o.manifest == d }) {
				return []piece.Digest{d, im.manifest}
			}
			return []piece.Digest{im.manifest}
		}
	}
	return []piece.Digest{d}
}

func (s *images) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known)
}

// due are the images that are to be announced now.
func (s *images) due(now time.Time) []piece.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []piece.Digest
	for _, im := range s.known {
		if im.announced.IsZero() || now.Sub(im.announced) > renewAfter {
			due = append(due, im.manifest)
		}
	}
	return due
}

// announcedAt notes when an image was announced last.
func (s *images) announcedAt(manifest piece.Digest, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, im := range s.known {
		if im.manifest == manifest {
			im.announced = at
		}
	}
}

// announceImages keeps the images that are held findable, until the peer ends.
func (p *Peer) announceImages() {
	if p.cfg.Directory == nil {
		return
	}
	tick := time.NewTicker(imagesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
		for _, manifest := range p.images.due(time.Now()) {
			if !p.cfg.Store.Has(manifest) {
				continue
			}
			if err := p.announce(p.ctx, Key{Digest: manifest, Image: true}, announceFor); err != nil {
				p.log.Debug("announce image", "manifest", manifest.Short(), "err", err)
				break // the next round tries again
			}
			p.images.announcedAt(manifest, time.Now())
		}
	}
}

// announce tells the directory of a key, for so long at most.
func (p *Peer) announce(ctx context.Context, k Key, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := p.cfg.Directory.Announce(ctx, k)
	if err == nil {
		p.stats.announced.Add(1)
	}
	return err
}
