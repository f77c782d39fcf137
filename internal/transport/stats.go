package transport

import "sync/atomic"

// Stats counts what a Transport has done since it was made, but for the
// fields that say "now".
type Stats struct {
	Links        int   // HAVE links now
	Conns        int   // libp2p connections now
	LinksLost    int64 // times that Handler.Lost was told
	DialsFailed  int64 // HAVE links that could not be made
	MessagesSent int64 // messages queued for neighbours
	MessagesRead int64
	LinkBytesOut int64 // frames written to HAVE streams
	LinkBytesIn  int64

	ServeConns     int   // bulk connections open to us now
	ServesRunning  int   // pieces being sent now
	Served         int64 // bulk requests answered with all their bytes
	ServedBytes    int64
	ServesBusy     int64 // answered with ErrBusy
	ServesNotHeld  int64 // answered with ErrNotHeld
	ServesFailed   int64 // refused, malformed or broken off
	ConnsRefused   int64 // bulk connections above Limits.ServeConns
	FetchesRunning int   // bodies being read now
	Fetches        int64 // bulk requests made
	FetchesFailed  int64 // of those, the ones that yielded no body
	FetchedBytes   int64
	FetchConns     int64 // bulk connections dialled
}

// counters are the live form of Stats.
type counters struct {
	linksLost, dialsFailed, messagesSent, messagesRead, linkBytesOut, linkBytesIn atomic.Int64

	serveConns, servesRunning, served, servedBytes, servesBusy, servesNotHeld, servesFailed, connsRefused atomic.Int64

	fetchesRunning, fetches, fetchesFailed, fetchedBytes, fetchConns atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{
		LinksLost:      c.linksLost.Load(),
		DialsFailed:    c.dialsFailed.Load(),
		MessagesSent:   c.messagesSent.Load(),
		MessagesRead:   c.messagesRead.Load(),
		LinkBytesOut:   c.linkBytesOut.Load(),
		LinkBytesIn:    c.linkBytesIn.Load(),
		ServeConns:     int(c.serveConns.Load()),
		ServesRunning:  int(c.servesRunning.Load()),
		Served:         c.served.Load(),
		ServedBytes:    c.servedBytes.Load(),
		ServesBusy:     c.servesBusy.Load(),
		ServesNotHeld:  c.servesNotHeld.Load(),
		ServesFailed:   c.servesFailed.Load(),
		ConnsRefused:   c.connsRefused.Load(),
		FetchesRunning: int(c.fetchesRunning.Load()),
		Fetches:        c.fetches.Load(),
		FetchesFailed:  c.fetchesFailed.Load(),
		FetchedBytes:   c.fetchedBytes.Load(),
		FetchConns:     c.fetchConns.Load(),
	}
}
