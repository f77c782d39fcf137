package mirror

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteRange is the part [off, off+n) of a blob.
type byteRange struct{ off, n int64 }

// contentRange is the Content-Range header of a 206.
func (r byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.off, r.off+r.n-1, size)
}

// rangeAnswer is what a Range header asks to be answered with.
type rangeAnswer uint8

const (
	whole         rangeAnswer = iota // 200: no header, or one to be ignored
	partial                          // 206
	unsatisfiable                    // 416
)

// parseRange reads the Range headers of a GET of a blob of size bytes. With
// whole, the range is the whole blob.
//
// RFC 9110 §14.2 lets a server ignore what is malformed, in another unit, or
// more than one range (see parseRanges for those); all of these get the whole blob, from which containerd
// skips by itself. So does any range of an empty blob: containerd's parallel
// fetch asks "bytes=0-" of everything, and 416 would fail it.
func parseRange(headers []string, size int64) (byteRange, rangeAnswer) {
	all := byteRange{0, size}
	if len(headers) != 1 || size == 0 {
		return all, whole
	}
	unit, spec, ok := strings.Cut(headers[0], "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return all, whole
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok || (first == "" && last == "") {
		return all, whole
	}
	a, aok := parsePosition(first)
	b, bok := parsePosition(last)
	switch {
	case !aok || !bok || (first != "" && last != "" && b < a):
		return all, whole
	case first == "" && b == 0:
		return all, unsatisfiable
	case first == "":
		n := min(b, size)
		return byteRange{size - n, n}, partial
	case a >= size:
		return all, unsatisfiable
	case last == "":
		return byteRange{a, size - a}, partial
	}
	return byteRange{a, min(b, size-1) - a + 1}, partial
}

// parsePosition reads decimal digits. Numbers of any length are legal; those
// that do not fit stand for the largest, past the end of every blob.
// An empty string is 0.
func parsePosition(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}
