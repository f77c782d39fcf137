package rpc

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// protocolVersion is the wire that this package speaks. It changes only when
// two sides could no longer understand each other; what is merely new and
// unknown is ignored instead.
const protocolVersion = 1

// Limits on what a message may hold. They bound the memory that one side can
// make the other spend. Encoding keeps to them, so that nobody is refused for
// having much to say.
const (
	maxMessage = 4 << 20 // bytes of one message
	maxBlobs   = 4096    // blobs in a Join or Summary
	// blobsSent is how many blobs are put into one message. An image has
	// fewer; and that many bitfields of the largest blobs stay well below
	// maxMessage.
	blobsSent     = 256
	maxDecisions  = 1024                    // decisions in one message
	maxTable      = maxDecisions * maxPeers // peers that they introduce
	maxPeers      = 256                     // neighbours in one decision
	maxAddrs      = 16                      // addresses of a peer
	maxText       = 512                     // bytes of an ID, address, host or zone
	maxReason     = 4096                    // bytes of a reason
	maxLeases     = 256                     // leases in one Progress
	maxDisputed   = 4096                    // pieces in a Dispute
	maxSchedulers = 64                      // schedulers in a Roster
	maxRetryAfter = time.Hour
	// maxWait bounds how long a peer may be asked to wait.
	maxWait = time.Minute
)

// errMalformed is wrapped by every error of decoding. The rest of its text
// begins with the field.
var errMalformed = errors.New("malformed message")

// in says which field an error of one inside it belongs to.
func in(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s.%w", field, err)
}

func bad(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...))
}

// atMost checks a count.
func atMost(field string, n, most int) error {
	if n > most {
		return bad(field, "%d of them, at most %d are allowed", n, most)
	}
	return nil
}

func decodeDigest(field string, b []byte) (piece.Digest, error) {
	if len(b) != piece.DigestSize {
		return piece.Digest{}, bad(field, "%d bytes, want %d", len(b), piece.DigestSize)
	}
	return piece.Digest(b), nil
}

// decodeText takes a string that may be empty, decodeID one that may not.
func decodeText(field, s string) (string, error) {
	if len(s) > maxText {
		return "", bad(field, "%d bytes, at most %d are allowed", len(s), maxText)
	}
	return s, nil
}

func decodeID(field, s string) (scheduler.PeerID, error) {
	if s == "" {
		return "", bad(field, "empty")
	}
	s, err := decodeText(field, s)
	return scheduler.PeerID(s), err
}

func decodeReason(s string) (string, error) {
	if len(s) > maxReason {
		return "", bad("reason", "%d bytes, at most %d are allowed", len(s), maxReason)
	}
	return s, nil
}

// encodeReason cuts what is too long, at the end of a character.
func encodeReason(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
}

func decodeBytes(field string, n int64) (int64, error) {
	if n < 0 {
		return 0, bad(field, "%d", n)
	}
	return n, nil
}

func decodePeer(p *p2pdv1.Peer) (scheduler.Peer, error) {
	id, err := decodeID("id", p.GetId())
	if err != nil {
		return scheduler.Peer{}, err
	}
	if err := atMost("addrs", len(p.GetAddrs()), maxAddrs); err != nil {
		return scheduler.Peer{}, err
	}
	for i, a := range p.GetAddrs() {
		if _, err := decodeText(fmt.Sprintf("addrs[%d]", i), a); err != nil {
			return scheduler.Peer{}, err
		}
	}
	for _, f := range [][2]string{{"bulk", p.GetBulk()}, {"zone", p.GetZone()}, {"rack", p.GetRack()}} {
		if _, err := decodeText(f[0], f[1]); err != nil {
			return scheduler.Peer{}, err
		}
	}
	return scheduler.Peer{ID: id, Addrs: p.GetAddrs(), Bulk: p.GetBulk(), Zone: p.GetZone(), Rack: p.GetRack()}, nil
}

// encodePeer keeps the first maxAddrs addresses: a host with more of them is
// still a peer, and the other side would refuse the rest.
func encodePeer(p scheduler.Peer) *p2pdv1.Peer {
	return &p2pdv1.Peer{Id: string(p.ID), Addrs: p.Addrs[:min(len(p.Addrs), maxAddrs)], Bulk: p.Bulk, Zone: p.Zone, Rack: p.Rack}
}

func decodeSize(size *int64) (int64, error) {
	if size == nil {
		return scheduler.SizeUnknown, nil
	}
	if _, err := piece.NewLayout(*size); err != nil {
		return 0, bad("size", "%v", err)
	}
	return *size, nil
}

func encodeSize(n int64) *int64 {
	if n == scheduler.SizeUnknown {
		return nil
	}
	return &n
}

// decodeHave takes a size and a bitfield, which must fit it. An absent one
// has nothing; full stands for one that has all.
func decodeHave(size *int64, have []byte, full bool) (int64, piece.Bitfield, error) {
	n, err := decodeSize(size)
	if err != nil {
		return n, piece.Bitfield{}, err
	}
	if n == scheduler.SizeUnknown {
		if len(have) > 0 || full {
			return n, piece.Bitfield{}, bad("have", "pieces of a blob of unknown size")
		}
		return n, piece.Bitfield{}, nil
	}
	l, _ := piece.NewLayout(n) // checked by decodeSize
	if full {
		return n, piece.FullBitfield(l.Count()), nil
	}
	if len(have) == 0 {
		return n, piece.NewBitfield(l.Count()), nil
	}
	b, err := piece.ParseBitfield(have)
	if err != nil {
		return n, piece.Bitfield{}, bad("have", "%v", err)
	}
	if b.Len() != l.Count() {
		return n, piece.Bitfield{}, bad("have", "%d pieces for a blob of %d", b.Len(), l.Count())
	}
	return n, b, nil
}

func encodeHave(size int64, b *piece.Bitfield) []byte {
	if size == scheduler.SizeUnknown || b.Count() == 0 {
		return nil
	}
	return b.Append(nil)
}

// decodePieces takes the pieces of a lease. Without any it must be on the
// whole blob.
func decodePieces(first, end uint32, whole bool) (piece.Range, error) {
	if end > piece.MaxPieces {
		return piece.Range{}, bad("end", "piece %d, at most %d are possible", end, piece.MaxPieces)
	}
	if first > end || first == end && !whole {
		return piece.Range{}, bad("first", "a lease on pieces %d to %d", first, end)
	}
	return piece.Range{First: int(first), End: int(end)}, nil
}

// decodeShare takes a gateway's part; 0 of 0 is no gateway's.
func decodeShare(index, of uint32) (scheduler.Share, error) {
	if of > maxPeers || index >= max(of, 1) {
		return scheduler.Share{}, bad("share_index", "%d of %d", index, of)
	}
	return scheduler.Share{Index: int(index), Of: int(of)}, nil
}

// encodePiece is a piece's number or a count of pieces; layouts keep both far
// below the limit.
func encodePiece(i int) uint32 { return uint32(min(max(i, 0), math.MaxInt32)) }
