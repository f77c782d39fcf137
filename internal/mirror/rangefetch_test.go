package mirror

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// parts is a world that opens parts of blobs, too.
type parts struct {
	*world
	asked [][]Span
}

func (p *parts) OpenRanges(ctx context.Context, d piece.Digest, size int64, src peer.Source, spans []Span) (Content, error) {
	p.mu.Lock()
	p.asked = append(p.asked, spans)
	p.mu.Unlock()
	return p.Open(ctx, d, size, src)
}

func TestSmallRangesFetchTheirPieces(t *testing.T) {
	const size = 8 * piece.MinSize
	data := pattern(size)
	tests := []struct {
		name, method, header string
		known                bool // the blob's size
		policy               RangeFetch
		want                 [][]Span // empty: the whole blob is fetched
	}{
		{"all", "GET", "", true, FetchPieces, nil},
		{"small", "GET", "bytes=100-199", true, FetchPieces, [][]Span{{{100, 100}}}},
		{"small of unknown", "GET", "bytes=100-199", false, FetchPieces, [][]Span{{{100, 100}}}},
		{"one byte, as for the size", "GET", "bytes=0-0", false, FetchPieces, [][]Span{{{0, 1}}}},
		{"footer", "GET", "bytes=-51", true, FetchPieces, [][]Span{{{size - 51, 51}}}},
		{"footer of unknown", "GET", "bytes=-51", false, FetchPieces, nil},
		{"half", "GET", "bytes=0-4194303", true, FetchPieces, nil},
		{"less than half", "GET", "bytes=0-4194302", true, FetchPieces, [][]Span{{{0, 4194303}}}},
		{"open-ended", "GET", "bytes=0-", true, FetchPieces, nil},
		{"the rest", "GET", "bytes=8388600-", true, FetchPieces, nil},
		{"small ones", "GET", "bytes=100-199, 8388000-", true, FetchPieces, nil},
		{"small closed ones", "GET", "bytes=100-199, 8388000-8388001", true, FetchPieces, [][]Span{{{100, 100}, {8388000, 2}}}},
		{"small closed ones of unknown", "GET", "bytes=100-199,8388000-8388001", false, FetchPieces, [][]Span{{{100, 100}, {8388000, 2}}}},
		{"large in all", "GET", "bytes=0-2194303,3000000-5194303", true, FetchPieces, nil},
		{"ignored", "GET", "bytes=9-5", true, FetchPieces, nil},
		{"past the end", "GET", "bytes=8388608-9999999", true, FetchPieces, [][]Span{nil}},
		{"small, by policy whole", "GET", "bytes=100-199", true, FetchWhole, nil},
		{"size alone", "HEAD", "", false, FetchPieces, [][]Span{nil}},
		{"size alone, by policy whole", "HEAD", "", false, FetchWhole, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			d, _ := w.add(data)
			p := &parts{world: w}
			lab := newLab(t, w, Config{Ranges: p, RangeFetch: tt.policy})
			if tt.known {
				lab.mirror.sizes.learn(testHost, testRepo, promise{d, size})
			}
			if a := lab.do(tt.method, blobPath(d), "Range", tt.header); a.status >= 300 && a.status != http.StatusRequestedRangeNotSatisfiable {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			lab.end()
			if diff := cmp.Diff(tt.want, p.asked); diff != "" {
				t.Errorf("parts that were opened (-want +got):\n%s", diff)
			}
			if n := len(w.openings()); n != 1 {
				t.Errorf("opened %d times", n)
			}
		})
	}
}

func TestParseRangeFetch(t *testing.T) {
	for s, want := range map[string]RangeFetch{"": FetchPieces, "pieces": FetchPieces, "whole": FetchWhole} {
		if got, err := ParseRangeFetch(s); got != want || err != nil {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	if _, err := ParseRangeFetch("none"); err == nil {
		t.Error("nonsense passed")
	}
}
