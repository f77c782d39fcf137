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
	// OpenRanges is Blobs.Open for somebody who reads these parts alone.
	// Unless somebody else wants more, no pieces but those that they touch
	// are fetched; without any part only the size is found out. Where size is
	// scheduler.SizeUnknown, parts may end past the blob's end.
	//
	// The last piece must not wait for the whole blob: who reads parts checks
	// them by other means than the blob's digest.
	OpenRanges(ctx context.Context, d piece.Digest, size int64, src peer.Source, parts []Span) (Content, error)
}

// Span is the bytes [Off, Off+N) of a blob. N is not 0.
type Span struct{ Off, N int64 }

// open opens a blob, or the part of it that a request is about.
func (m *Mirror) open(ctx context.Context, r *http.Request, d piece.Digest, size int64, src peer.Source) (Content, error) {
	if m.cfg.Ranges == nil || m.cfg.RangeFetch == FetchWhole {
		return m.cfg.Blobs.Open(ctx, d, size, src)
	}
	if parts, ok := smallParts(r, d, size); ok {
		return m.cfg.Ranges.OpenRanges(ctx, d, size, src, parts)
	}
	return m.cfg.Blobs.Open(ctx, d, size, src)
}

// smallParts are the parts of a blob that a request is about, if they are
// small. size is negative if not known. Open-ended ranges are no small parts:
// they are how containerd asks for whole blobs.
func smallParts(r *http.Request, d piece.Digest, size int64) ([]Span, bool) {
	if r.Method == http.MethodHead {
		return nil, true // about its size
	}
	if !wantsRange(r, d) || isOpenEnded(r) {
		return nil, false
	}
	known := size >= 0
	if !known {
		size = math.MaxInt64
	}
	ranges, answer := parseRanges(r.Header.Values("Range"), size)
	if answer != partial {
		return nil, known && answer == unsatisfiable // the answer says how long it is
	}
	var parts []Span
	total := int64(0)
	for _, part := range ranges {
		if !known && part.off+part.n == size {
			return nil, false // from the end, wherever that is
		}
		parts, total = append(parts, Span{part.off, part.n}), total+part.n
	}
	return parts, total < size/largePart
}

// isOpenEnded reports whether a request is for all from some byte on.
func isOpenEnded(r *http.Request) bool {
	headers := r.Header.Values("Range")
	return len(headers) == 1 && len(headers[0]) > 0 && headers[0][len(headers[0])-1] == '-'
}
