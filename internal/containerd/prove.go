package containerd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/pkg/piece"
)

// result is the end of one job: a proof, or why there is none.
type result struct {
	listing
	proof *proof
	// stamp is of the file that was looked at; zero if there was none.
	stamp stamp
	// mismatch says that the file is not what containerd says it is, and need
	// not be read again as long as it is the same.
	mismatch bool
	err      error
}

// prove hashes one blob after the other.
func (c *Content) prove(ctx context.Context, jobs <-chan listing, results chan<- result) error {
	limit := throttle.New(c.cfg.HashRate)
	for {
		select {
		case job := <-jobs:
			r := c.proveOne(ctx, job, limit)
			select {
			case results <- r:
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// proveOne reads a blob whole. What containerd says of its size is checked
// first, because that costs nothing.
func (c *Content) proveOne(ctx context.Context, job listing, limit *throttle.Limit) result {
	r := result{listing: job}
	f, s, err := c.openFile(job.digest)
	if err != nil {
		r.err = err
		return r
	}
	defer f.Close()
	r.stamp = s
	if s.size != job.size {
		r.mismatch, r.err = true, fmt.Errorf("it has %d bytes, not %d", s.size, job.size)
		return r
	}
	layout, err := piece.NewLayout(s.size)
	if err != nil {
		r.mismatch, r.err = true, err
		return r
	}
	whole, claims, err := digests(throttle.Reader(ctx, f, limit), layout)
	if err != nil {
		r.err = err
		return r
	}
	if whole != job.digest {
		r.mismatch, r.err = true, &piece.MismatchError{Want: job.digest, Got: whole}
		return r
	}
	// Not if it was written to meanwhile: what was hashed is not what is there.
	if r.err = unchanged(f, s); r.err == nil {
		r.proof = &proof{stamp: s, layout: layout, claims: claims, made: job.made}
	}
	return r
}

func unchanged(f *os.File, s stamp) error {
	info, err := f.Stat()
	if err == nil && stampOf(info) != s {
		err = errAnother
	}
	return err
}

// digests reads a blob once, for the digest of the whole and of each piece.
func digests(r io.Reader, l piece.Layout) (whole piece.Digest, claims []piece.Digest, err error) {
	all := sha256.New()
	claims = make([]piece.Digest, l.Count())
	buf := make([]byte, throttle.Burst)
	for i := range claims {
		_, n := l.Bounds(i)
		one := sha256.New()
		got, err := io.CopyBuffer(io.MultiWriter(all, one), io.LimitReader(r, n), buf)
		if err == nil && got != n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return piece.Digest{}, nil, fmt.Errorf("read piece %d: %w", i, err)
		}
		claims[i] = piece.Digest(one.Sum(nil))
	}
	return piece.Digest(all.Sum(nil)), claims, nil
}
