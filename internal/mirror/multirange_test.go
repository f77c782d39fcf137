package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// multi reads a multipart body into Content-Range and bytes.
func multi(header http.Header, body []byte) (ranges []string, contents [][]byte, err error) {
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/byteranges" {
		return nil, nil, fmt.Errorf("Content-Type %q, %w", header.Get("Content-Type"), err)
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return ranges, contents, nil
		}
		if err != nil {
			return nil, nil, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, nil, err
		}
		if got := part.Header.Get("Content-Type"); got != octets {
			return nil, nil, fmt.Errorf("a part is %q", got)
		}
		ranges, contents = append(ranges, part.Header.Get("Content-Range")), append(contents, content)
	}
}

func TestSeveralRanges(t *testing.T) {
	w := newWorld()
	data := pattern(3 * piece.MinSize)
	n := len(data)
	d, _ := w.add(data)
	lab := newLab(t, w, Config{})
	want := [][2]int{{n - 7, n}, {0, 2}, {piece.MinSize - 1, 2*piece.MinSize + 1}}
	a := lab.do("GET", blobPath(d), "Range", "bytes=-7, 0-1,\t1048575-2097152 ,99999999-")
	ranges, contents, err := multi(a.header, a.body)
	if a.status != 206 || a.err != nil || err != nil || len(ranges) != len(want) {
		t.Fatalf("got %d, %v, %v, %v", a.status, a.err, ranges, err)
	}
	for i, r := range want {
		if ranges[i] != fmt.Sprintf("bytes %d-%d/%d", r[0], r[1]-1, n) || !bytes.Equal(contents[i], data[r[0]:r[1]]) {
			t.Errorf("part %d is %s, %d bytes, want %v", i, ranges[i], len(contents[i]), r)
		}
	}
	if got := a.header.Get("Docker-Content-Digest"); got != d.String() {
		t.Errorf("digest %q", got)
	}
}

func TestSeveralRangesAreCutToo(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(3 * piece.MinSize))
	b.await = onlyBefore(2 * piece.MinSize)
	lab := newLab(t, w, Config{StallTimeout: time.Millisecond, FirstByteTimeout: time.Millisecond, Arrivals: new(arrivals)})
	a := lab.do("GET", blobPath(d), "Range", "bytes=0-9,2500000-2500009")
	if a.status != 206 || !errors.Is(a.err, io.ErrUnexpectedEOF) || len(a.body) < 10 {
		t.Errorf("got %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	if a := lab.do("GET", blobPath(d), "Range", "bytes=2500000-2500009,0-9"); a.status != 503 {
		t.Errorf("without a byte: %d", a.status)
	}
}

func TestTooManyRangesAreTheWhole(t *testing.T) {
	for _, n := range []int{maxRanges, maxRanges + 1} {
		parts, answer := parseRanges([]string{"bytes=" + strings.Repeat("1-1,", n-1) + "1-1"}, 1000)
		if most := n <= maxRanges; most != (answer == partial) || most != (len(parts) == n) {
			t.Errorf("%d ranges are %d, %v", n, len(parts), answer)
		}
	}
}

// suffixOfNothing is what net/http answers with a range that ends before it
// begins.
var suffixOfNothing = regexp.MustCompile(`[=, \t]-0+([, \t]|$)`)

// What is answered with several ranges, net/http answers the same.
func FuzzParseRanges(f *testing.F) {
	for _, seed := range []string{
		"", "bytes=0-", "bytes=0-0,2-3", "bytes=0-0, 2-3\t,-1", "bytes=5-,5-", "bytes=,", "bytes=0-0,", "bytes=-0,1-1",
		"bytes=99-,1-2", "bytes=1-2,9-5", "bytes=0-0,0-0,0-0", "items=0-0,2-3", "bytes=1-2,99999999999999999999-", "bytes=0-0,0-0,-0",
	} {
		f.Add(seed, uint16(10))
		f.Add(seed, uint16(0))
	}
	f.Fuzz(func(t *testing.T, header string, length uint16) {
		size := int64(length)
		parts, answer := parseRanges([]string{header}, size)
		total := int64(0)
		for _, part := range parts {
			if part.off < 0 || part.n < 0 || part.off+part.n > size || answer == partial && part.n == 0 {
				t.Fatalf("%q of %d is %+v", header, size, parts)
			}
			total += part.n
		}
		if len(parts) == 0 || len(parts) > maxRanges || total > size || answer != partial && len(parts) != 1 {
			t.Fatalf("%q of %d is %d parts, %d bytes", header, size, len(parts), total)
		}
		if len(parts) == 1 {
			return // FuzzParseRange looks at these
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Range"] = []string{header}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", octets)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(pattern(int(size))))
		ranges, _, err := multi(w.Header(), w.Body.Bytes())
		if !strings.HasPrefix(header, "bytes=") || tooLong.MatchString(header) || suffixOfNothing.MatchString(header) {
			return
		}
		if err != nil || len(ranges) != len(parts) {
			t.Fatalf("%q of %d is %+v, by net/http %d %v, %v", header, size, parts, w.Code, ranges, err)
		}
		for i := range ranges {
			if want := parts[i].contentRange(size); ranges[i] != want {
				t.Fatalf("%q of %d: part %d is %s, by net/http %s", header, size, i, want, ranges[i])
			}
		}
	})
}
