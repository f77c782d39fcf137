package origin

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// span is what a 206 holds: length bytes of a blob, from off.
type span struct {
	off, length int64
	size        int64 // of the whole blob, or scheduler.SizeUnknown
}

// contentRange is "bytes FIRST-LAST/SIZE" (RFC 9110 §14.4). 18 digits always
// fit an int64 and exceed every blob.
var contentRange = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)$`)

// parseContentRange reads the header of a 206. What it returns is not empty
// and lies within the blob.
func parseContentRange(v string) (span, error) {
	m := contentRange.FindStringSubmatch(v)
	if m == nil {
		return span{}, fmt.Errorf("Content-Range %q is malformed", clean(v))
	}
	first, _ := strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	s := span{off: first, length: last - first + 1, size: scheduler.SizeUnknown}
	if m[3] != "*" {
		s.size, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if s.length <= 0 || s.size != scheduler.SizeUnknown && last >= s.size {
		return span{}, fmt.Errorf("Content-Range %q makes no sense", v)
	}
	return s, nil
}

// check holds s against what was asked for: [off, off+n), to the end if n is
// negative. A server may send less than that, and a blob may end sooner; only
// the second is any good to us.
func (s span) check(off, n, contentLength int64) error {
	end := s.off + s.length
	switch {
	case s.off != off:
		return fmt.Errorf("the origin sent bytes from %d where those from %d were asked for", s.off, off)
	case n >= 0 && s.length > n:
		return fmt.Errorf("the origin sent %d bytes where %d were asked for", s.length, n)
	case contentLength >= 0 && contentLength != s.length:
		return fmt.Errorf("the origin sent a range of %d bytes with Content-Length %d", s.length, contentLength)
	case s.length == n, n < 0 && s.size == scheduler.SizeUnknown, end == s.size:
		return nil
	}
	return fmt.Errorf("%w in full: %d bytes from %d came", peer.ErrNoRange, s.length, off)
}
