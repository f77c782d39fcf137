package member

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// TicketLife is how long a ticket is good: what a peer may still have of others
	// once schedulers give it no more. It is renewed after half of that.
	TicketLife = time.Hour
	// MaxTicket is the longest ticket in bytes.
	MaxTicket = ticketHead + 1 + maxName + ed25519.SignatureSize

	ticketVersion = 1
	ticketHead    = 1 + 8 + 32
	// ticketContext keeps signatures apart from others by the same key.
	ticketContext = "p2pd ticket v1\x00"
	// maxOwnTickets bounds what a peer keeps of its own: above the swarms that a
	// scheduler lets it be in within TicketLife, but for many small images.
	maxOwnTickets = 4 << 10
	// maxShownTickets bounds whose tickets are remembered. Past it those go that
	// have expired, then any: who is forgotten shows its ticket again with its next
	// request for a piece.
	maxShownTickets = 16 << 10
)

// What is wrong with a ticket.
var (
	ErrTicketForged = errors.New("ticket is not signed by this cluster")
	ErrTicketOther  = errors.New("ticket is for another blob or another peer")
)

// Ticket says that a scheduler has let a peer into the swarm of a blob. In a strict
// cluster peers give each other nothing without. Signed it is, big-endian:
//
//	offset  size  meaning
//	0       1     version, 1
//	1       8     when it expires, Unix seconds
//	9       32    SHA-256 of the blob
//	41      1+n   peer ID: its length, then its text
//	..      64    Ed25519 by the cluster's key over "p2pd ticket v1\x00" and all
//	              before it
type Ticket struct {
	Peer    string // libp2p peer ID in text form
	Digest  [32]byte
	Expires time.Time
}

// SignTicket makes the bytes of a ticket.
func (k Key) SignTicket(t Ticket) ([]byte, error) {
	if t.Peer == "" || len(t.Peer) > maxName {
		return nil, fmt.Errorf("a ticket's peer has %d bytes, not 1 to %d", len(t.Peer), maxName)
	}
	b := []byte{ticketVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(max(t.Expires.Unix(), 0))) //nolint:gosec // not negative
	b = append(b, t.Digest[:]...)
	b = append(append(b, byte(len(t.Peer))), t.Peer...)
	return signed(k, ticketContext, b), nil
}

// OpenTicket reads a ticket that this cluster has signed. Whose it is, for what, and whether
// it is still good is for Ticket.Check.
func (p Public) OpenTicket(raw []byte) (Ticket, error) {
	body, ok := p.unsigned(ticketContext, raw, MaxTicket)
	if !ok {
		return Ticket{}, fmt.Errorf("%w: %d bytes", ErrTicketForged, len(raw))
	}
	return parseTicket(body)
}

func parseTicket(b []byte) (t Ticket, err error) {
	if len(b) <= ticketHead || b[0] != ticketVersion {
		return t, errors.New("ticket of a version that this build does not know")
	}
	if t.Expires, err = unixTime(binary.BigEndian.Uint64(b[1:])); err != nil {
		return t, fmt.Errorf("ticket: %w", err)
	}
	t.Digest = [32]byte(b[9:ticketHead])
	name := b[ticketHead+1:]
	if len(name) == 0 || len(name) != int(b[ticketHead]) {
		return Ticket{}, errors.New("ticket is cut short, or has more than belongs into it")
	}
	t.Peer = string(name)
	return t, nil
}

// Check says why a ticket gives that peer nothing of that blob at that time.
func (t Ticket) Check(peer string, digest [32]byte, now time.Time) error {
	if t.Peer != peer || t.Digest != digest {
		return ErrTicketOther
	}
	if !now.Before(t.Expires) {
		return fmt.Errorf("ticket has expired at %s", t.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// Ticket lets a peer into the swarm of a blob for TicketLife. Whether it is in the swarm is
// for the caller to know.
func (a *Authority) Ticket(peer string, digest [32]byte) ([]byte, error) {
	now := time.Now()
	if err := a.cfg.Bans.Check(peer, now); err != nil {
		return nil, err
	}
	return a.cfg.Key.SignTicket(Ticket{Peer: peer, Digest: digest, Expires: now.Add(TicketLife)})
}

// Tickets are those of one peer, and what others have shown it. The methods may be called
// from many goroutines and do not block.
type Tickets struct {
	cluster Public
	peer    string

	mu    sync.Mutex // guards what follows
	own   map[[32]byte]ownTicket
	shown map[shownTicket]time.Time // until when each is good
}

type ownTicket struct {
	raw     []byte
	expires time.Time
}

type shownTicket struct {
	peer   string
	digest [32]byte
}

// NewTickets has none yet.
func NewTickets(cluster Public, peer string) *Tickets {
	return &Tickets{cluster: cluster, peer: peer, own: make(map[[32]byte]ownTicket), shown: make(map[shownTicket]time.Time)}
}

// Accept takes a ticket of this peer's own; it fails if that is no good.
func (t *Tickets) Accept(digest [32]byte, raw []byte) error {
	now := time.Now()
	c, err := t.cluster.OpenTicket(raw)
	if err == nil {
		err = c.Check(t.peer, digest, now)
	}
	if err != nil {
		return fmt.Errorf("the scheduler's ticket for this peer: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	makeRoom(t.own, digest, maxOwnTickets, func(o ownTicket) bool { return !now.Before(o.expires) })
	t.own[digest] = ownTicket{raw: raw, expires: c.Expires}
	return nil
}

// Own is this peer's ticket for a blob; nil if it has none that is good. The caller does
// not change it.
func (t *Tickets) Own(digest [32]byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := t.own[digest]; ok && time.Now().Before(o.expires) {
		return o.raw
	}
	return nil
}

// Show takes the ticket of a peer that has proven its ID; it fails if that is no good, which
// takes nothing from one that it showed before.
func (t *Tickets) Show(peer string, digest [32]byte, raw []byte) error {
	now, key := time.Now(), shownTicket{peer, digest}
	t.mu.Lock()
	known := t.shown[key]
	t.mu.Unlock()
	if known.Sub(now) > TicketLife/2 {
		return nil // it will be renewed before it matters whether this is another one
	}
	c, err := t.cluster.OpenTicket(raw)
	if err == nil {
		err = c.Check(peer, digest, now)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	makeRoom(t.shown, key, maxShownTickets, func(until time.Time) bool { return !now.Before(until) })
	t.shown[key] = c.Expires
	return nil
}

// May reports whether a peer has shown a ticket for a blob that is still good.
func (t *Tickets) May(peer string, digest [32]byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.shown[shownTicket{peer, digest}])
}

// makeRoom sees to it that key fits into m, which holds most: what is over goes, then
// anything.
func makeRoom[K comparable, V any](m map[K]V, key K, most int, over func(V) bool) {
	if _, there := m[key]; there || len(m) < most {
		return
	}
	for k, v := range m {
		if over(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < most {
			return
		}
		delete(m, k)
	}
}
