package peer

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
)

// maxSources bounds the sources that one download keeps. Each open of a blob
// that is arriving brings one; the last few will do.
const maxSources = 16

// sources is the Source of a download that several clients share. Each brings
// a Source with a right of its own, and a right may end before the others do:
// who is refused steps aside for the rest. The newest comes first, because its
// right was proved last. It is safe for concurrent use.
type sources struct {
	host string // of the first: what leases are counted against

	mu   sync.Mutex // guards what follows
	list []*right   // not refused yet, the newest first
	no   error      // the last refusal, once none is left
}

// right is one reader's source.
type right struct{ Source }

// shared makes the sources of a download that its first reader brings.
func shared(s Source) *sources { return &sources{host: s.Host(), list: []*right{{s}}} }

// add brings another reader's source.
func (s *sources) add(src Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append([]*right{{src}}, s.list[:min(len(s.list), maxSources-1)]...)
}

// Host implements Source.
func (s *sources) Host() string { return s.host }

// Read implements Source.
func (s *sources) Read(ctx context.Context, off, n int64) (body io.ReadCloser, size int64, err error) {
	err = s.ask(func(src Source) (err error) {
		body, size, err = src.Read(ctx, off, n)
		return err
	})
	return body, size, err
}

// Stat implements Source.
func (s *sources) Stat(ctx context.Context) (size int64, err error) {
	err = s.ask(func(src Source) (err error) {
		size, err = src.Stat(ctx)
		return err
	})
	return size, err
}

// ask asks one source after the other until one is not refused.
func (s *sources) ask(question func(Source) error) error {
	for {
		s.mu.Lock()
		if len(s.list) == 0 {
			defer s.mu.Unlock()
			return s.no
		}
		src := s.list[0]
		s.mu.Unlock()
		err := question(src)
		if !deniesRight(err) {
			return err
		}
		s.drop(src, err)
	}
}

// drop takes a source out that was refused with err.
func (s *sources) drop(src *right, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.no = err
	if i := slices.Index(s.list, src); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// again reports whether somebody came after all others had been refused with
// err: then that is not the last word.
func (s *sources) again(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return deniesRight(err) && len(s.list) > 0
}

// deniesRight reports whether the origin refused whoever asked, and may well
// answer another: 401, 403, and 404 where repositories differ in what they
// have or in what they show.
func deniesRight(err error) bool {
	refusal, ok := errors.AsType[*OriginError](err)
	return ok && (refusal.Status == statusUnauthorized || refusal.Status == statusForbidden || refusal.Status == statusNotFound)
}
