package transport

import (
	"net"
	"net/http/httptrace"
	"time"
)

const (
	// gatherTime is how long bytes may gather in the kernel before a fetch
	// is woken for them. Without it every segment wakes a thread, and at
	// 100 Mbit/s a quarter of the daemon's CPU time is waking up. It is far
	// below what anybody waits for a piece.
	gatherTime = 20 * time.Millisecond
	// gatherMost is above what one wake can make cheaper.
	gatherMost = 64 << 10
	// gatherLeast is not worth a system call.
	gatherLeast = 4 << 10
	// gatherSlack is more than lies between the kernel and whoever reads the
	// body: a TLS record or two, and fetchBuffer. The kernel must never be
	// told to wait for bytes that will not come.
	gatherSlack = 2 * fetchBuffer
)

// gather sets how many bytes must lie in the kernel before the reader of a
// body is woken: what arrives in gatherTime at the body's own rate, and just
// one byte when its end is near. Not for concurrent use.
type gather struct {
	set   func(bytes int) error // on the connection
	begun time.Time
	got   int64
	left  int64
	now   int // what was set last
}

// newGather is for a body of n bytes on conn; nil, which does nothing, if conn
// is not one of the kernel's.
func newGather(conn net.Conn, n int64) *gather {
	raw := rawOf(conn)
	if raw == nil {
		return nil
	}
	set := func(bytes int) error { return setLowWater(raw, bytes) }
	return &gather{set: set, begun: time.Now(), left: n, now: 1}
}

// took tells that n bytes more have been read.
func (g *gather) took(n int) {
	if g == nil {
		return
	}
	g.got += int64(n)
	g.left -= int64(n)
	want := g.want(time.Since(g.begun))
	fits := int64(g.now) <= g.left-gatherSlack
	// A change by less than half is not worth a system call.
	if near := want > 1 && want > g.now/2 && want < g.now*2; want == g.now || near && fits {
		return
	}
	if g.set(want) == nil {
		g.now = want
	}
}

// want is the low-water mark after so long.
func (g *gather) want(elapsed time.Duration) int {
	if elapsed <= 0 {
		return 1
	}
	most := min(gatherMost, g.left-gatherSlack)
	want := min(most, int64(float64(g.got)*float64(gatherTime)/float64(elapsed)))
	if want < gatherLeast {
		return 1
	}
	return int(want)
}

// watching tells which connection a request goes out on.
func watching(conn *net.Conn) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { *conn = info.Conn }}
}
