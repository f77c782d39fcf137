package mirror

import (
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// RangeFetch is how much of a blob is fetched for somebody who asks for a
// part of it.
type RangeFetch uint8

const (
	// FetchPieces fetches the pieces that a small range touches and no more,
	// as snapshotters want it that mount a layer before it is here.
	FetchPieces RangeFetch = iota
	// FetchWhole fetches the whole blob in the background.
	FetchWhole
)

// ParseRangeFetch reads the policy as configurations name it; empty is the
// default.
func ParseRangeFetch(s string) (RangeFetch, error) {
	switch s {
	case "", "pieces":
		return FetchPieces, nil
	case "whole":
		return FetchWhole, nil
	}
	return 0, fmt.Errorf("range fetch %q is neither pieces nor whole", s)
}

// largePart is the share of a blob, one in largePart, from which on a range is
// taken for a wish for all of it: the rest costs no more than what is asked.
const largePart = 2

// RangeBlobs opens parts of blobs. The peer's engine is the real one.
type RangeBlobs interface {
	// OpenRange is Blobs.Open for somebody who reads [off, off+n) alone, with
	// n >= 0. Unless somebody else wants more, no pieces but those that the
	// range touches are fetched; with n = 0 only the size is found out. Where
	// size is scheduler.SizeUnknown the range may end past the blob's end.
	//
	// The last piece must not wait for the whole blob: who reads a part
	// checks it by other means than the blob's digest.
	OpenRange(ctx context.Context, d piece.Digest, size int64, src peer.Source, off, n int64) (Content, error)
}

// open opens a blob, or the part of it that a request is about.
func (m *Mirror) open(ctx context.Context, r *http.Request, d piece.Digest, size int64, src peer.Source) (Content, error) {
	if m.cfg.Ranges == nil || m.cfg.RangeFetch == FetchWhole {
		return m.cfg.Blobs.Open(ctx, d, size, src)
	}
	if part, ok := smallPart(r, d, size); ok {
		return m.cfg.Ranges.OpenRange(ctx, d, size, src, part.off, part.n)
	}
	return m.cfg.Blobs.Open(ctx, d, size, src)
}

// smallPart is the part of a blob that a request is about, if it is small.
// size is negative if not known. Open-ended ranges are no small parts: they
// are how containerd asks for whole blobs.
func smallPart(r *http.Request, d piece.Digest, size int64) (byteRange, bool) {
	if r.Method == http.MethodHead {
		return byteRange{}, true // about its size
	}
	if !wantsRange(r, d) || isOpenEnded(r) {
		return byteRange{}, false
	}
	headers := r.Header.Values("Range")
	if size >= 0 {
		part, answer := parseRange(headers, size)
		if answer == unsatisfiable {
			return byteRange{}, true // the answer says how long it is
		}
		return part, answer == partial && part.n < size/largePart
	}
	part, answer := parseRange(headers, math.MaxInt64)
	fromEnd := answer == partial && part.off+part.n == math.MaxInt64
	return part, answer == partial && !fromEnd
}

// isOpenEnded reports whether a request is for all from some byte on.
func isOpenEnded(r *http.Request) bool {
	headers := r.Header.Values("Range")
	return len(headers) == 1 && len(headers[0]) > 0 && headers[0][len(headers[0])-1] == '-'
}
