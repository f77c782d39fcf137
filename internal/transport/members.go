package transport

import (
	"context"
	"crypto/tls"
	"time"
)

// Tickets are what peers of a strict cluster show each other; *member.Tickets has them. The
// methods are called from many goroutines and do not block.
type Tickets interface {
	// Own is this peer's ticket for a blob; nil if it has none.
	Own(digest [32]byte) []byte
	// Show takes another's ticket, whose ID is proven. It fails if that is no good.
	Show(peer string, digest [32]byte, ticket []byte) error
}

// sweepEvery is how often connections are looked through for peers that are
// members no more. Requests for pieces are asked about one by one.
const sweepEvery = 5 * time.Second

// sweep cuts off peers whose credential has expired, or who were banned, until
// ctx ends. Who has a newer credential connects again with it.
func (l *links) sweep(ctx context.Context, members Members) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, p := range l.host.Network().Peers() {
			if err := members.Admit(p.String()); err != nil {
				l.log.Info("peer is cut off", "peer", p.String(), "err", err)
				_ = l.host.Network().ClosePeer(p)
			}
		}
	}
}

// Certificate is what this peer proves its ID with, to schedulers too. It
// keeps: schedulers are shown the credential beside it.
func (t *Transport) Certificate() (tls.Certificate, error) {
	made, err := t.id.current()
	if err != nil {
		return tls.Certificate{}, err
	}
	config, _ := made.ConfigForPeer("")
	return config.Certificates[0], nil
}
