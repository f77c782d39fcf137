package transport

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A HAVE stream is a row of frames. All numbers are big-endian.
//
//	offset  size  meaning
//	0       4     length of type and body, 1..maxFrame
//	4       1     type: 1 Offer, 2 Have, 3 Bye; any other ends the link
//	5       …     body
//
// Offer:
//
//	0       1     flags: bit 0 is Reply, bit 1 says that there is a ticket; the
//	              others are zero
//	1       32    digest of the blob
//	33      8     size of the blob in bytes; -1 if not known
//	41      4     length b of the bitfield
//	45      b     bitfield in the wire form of pkg/piece; of no pieces if the
//	              size is not known
//	45+b    32·k  digests of the k pieces set, in order; none is zero
//	…       1     number of addresses, at most maxAddrs
//	…       1+s   each: its length s and its bytes
//	…       1+s   bulk address
//	…       1+s   zone
//	…       1+s   rack
//	…       2+s   ticket, if there is one: its length s, at least 1, and its bytes.
//	              Peers show one in strict clusters only
//
// Have:
//
//	0       32    digest of the blob
//	32      2     number of pieces k, at least 1
//	34      36·k  each: index (4 bytes) and digest (32 bytes, not zero)
//
// Bye:
//
//	0       32    digest of the blob
//
// The sender's ID is not in any of them: the connection proves it.
const (
	frameHeader = 4

	typeOffer = 1
	typeHave  = 2
	typeBye   = 3

	flagReply  = 1
	flagTicket = 2

	// maxFrame has room for an Offer of the largest blob: 65,536 pieces are
	// 2 MiB of digests and 8 KiB of bitfield. A Have of 65,535 pieces takes
	// 2.25 MiB.
	maxFrame = 4 << 20
	// maxHave is the most pieces in one frame; longer messages are split.
	maxHave = math.MaxUint16
	// maxName bounds each string about the sender; a length is one byte.
	maxName = math.MaxUint8
	// maxTicket bounds a ticket, which has 361 bytes at most.
	maxTicket = 1 << 10
	// maxAddrs bounds how many addresses a peer may give. A node has one or
	// two, one for each address family.
	maxAddrs = 8

	claimSize = 4 + piece.DigestSize
)

// appendMessage appends the frames of m to dst. It fails, and returns dst as
// it was, if m is not what its contract promises.
func appendMessage(dst []byte, m peer.Message) ([]byte, error) {
	switch m := m.(type) {
	case peer.Offer:
		if got, want := len(m.Claims), m.Have.Count(); got != want {
			return dst, fmt.Errorf("offer of %d pieces has %d claims", want, got)
		}
		if len(m.Ticket) > maxTicket {
			return dst, fmt.Errorf("offer with a ticket of %d bytes", len(m.Ticket))
		}
		start := len(dst)
		return endFrame(appendOffer(beginFrame(dst, typeOffer), m), start), nil
	case peer.Have:
		for rest := m.Pieces; len(rest) > 0; {
			n := min(len(rest), maxHave)
			start := len(dst)
			dst = endFrame(appendHave(beginFrame(dst, typeHave), m.Digest, rest[:n]), start)
			rest = rest[n:]
		}
		return dst, nil
	case peer.Bye:
		start := len(dst)
		return endFrame(append(beginFrame(dst, typeBye), m.Digest[:]...), start), nil
	default:
		return dst, fmt.Errorf("no frame for a message of type %T", m)
	}
}

func beginFrame(dst []byte, typ byte) []byte {
	return append(dst, 0, 0, 0, 0, typ)
}

// endFrame fills in the length of the frame that begins at start.
func endFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-frameHeader))
	return dst
}

func appendOffer(dst []byte, m peer.Offer) []byte {
	var flags byte
	if m.Reply {
		flags |= flagReply
	}
	if len(m.Ticket) > 0 {
		flags |= flagTicket
	}
	dst = append(dst, flags)
	dst = append(dst, m.Digest[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Size))
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = m.Have.Append(dst)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	for i := range m.Claims {
		dst = append(dst, m.Claims[i][:]...)
	}
	dst = appendSender(dst, m.From)
	if len(m.Ticket) > 0 {
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(m.Ticket))), m.Ticket...) //nolint:gosec // at most maxTicket
	}
	return dst
}

// appendSender says how to reach the sender. Addresses past maxAddrs and
// strings that are too long for a frame are left out: a peer that has such
// cannot be reached by them.
func appendSender(dst []byte, p scheduler.Peer) []byte {
	addrs := make([]string, 0, maxAddrs)
	for _, a := range p.Addrs {
		if len(a) <= maxName && len(addrs) < maxAddrs {
			addrs = append(addrs, a)
		}
	}
	dst = append(dst, byte(len(addrs)))
	for _, a := range addrs {
		dst = appendName(dst, a)
	}
	dst = appendName(dst, p.Bulk)
	dst = appendName(dst, p.Zone)
	return appendName(dst, p.Rack)
}

func appendName(dst []byte, s string) []byte {
	if len(s) > maxName {
		s = ""
	}
	return append(append(dst, byte(len(s))), s...)
}

func appendHave(dst []byte, d piece.Digest, claims []peer.Claim) []byte {
	dst = append(dst, d[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(claims)))
	for i := range claims {
		dst = binary.BigEndian.AppendUint32(dst, uint32(claims[i].Index))
		dst = append(dst, claims[i].Digest[:]...)
	}
	return dst
}
