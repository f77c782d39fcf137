package transport

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	"github.com/p2pd/p2pd/proto/wiretest"
)

// wireMessages are one of each kind, with every field set. What they say must not
// change: it is what earlier versions sent.
func wireMessages() map[string]peer.Message {
	d, claim := piece.Sum([]byte("blob")), piece.Sum([]byte("piece"))
	have := piece.NewBitfield(3)
	have.Set(1)
	return map[string]peer.Message{
		"offer": peer.Offer{
			From:   scheduler.Peer{Addrs: []string{"/ip4/10.0.0.1/tcp/7301"}, Bulk: "10.0.0.1:7302", Zone: "z", Rack: "r"},
			Digest: d, Size: 3 << 20, Have: have, Claims: []piece.Digest{claim}, Reply: true,
		},
		"offer of a blob whose size nobody knows": peer.Offer{Digest: d, Size: scheduler.SizeUnknown, Have: piece.NewBitfield(0)},
		"offer with a ticket":                     peer.Offer{Digest: d, Size: scheduler.SizeUnknown, Have: piece.NewBitfield(0), Reply: true, Ticket: []byte("ticket")},
		"have":                                    peer.Have{Digest: d, Pieces: []peer.Claim{{Index: 2, Digest: claim}}},
		"bye":                                     peer.Bye{Digest: d},
	}
}

// What earlier versions sent is understood, word for word; and what is sent now is
// on record for later ones. (What they would not ignore is another protocol than
// /p2pd/have/1. Tickets they do not ignore: they are shown where an operator wants them
// only, once all peers know them.)
func TestWireOfEarlierVersions(t *testing.T) {
	now := make(map[string][]byte)
	for name, m := range wireMessages() {
		b, err := appendMessage(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		now[name] = b
	}
	wiretest.Recordings(t, now, func(t *testing.T, name string, wire []byte) {
		got, err := readFrames(wire)
		if diff := cmp.Diff([]peer.Message{wireMessages()[name]}, got, compareBitfields, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("understood otherwise: %v\n%s", err, diff)
		}
	})
}
