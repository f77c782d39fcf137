package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// readFrames reads all messages in wire.
func readFrames(wire []byte) ([]peer.Message, error) {
	f := frameReader{
		r:       bufio.NewReader(bytes.NewReader(wire)),
		reserve: func(int) (func(), error) { return func() {}, nil },
		begun:   func() {},
	}
	var all []peer.Message
	for {
		m, _, err := f.next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func drawDigest(t *rapid.T) (d piece.Digest) {
	copy(d[:], rapid.SliceOfN(rapid.Byte(), piece.DigestSize, piece.DigestSize).Draw(t, "digest"))
	d[0] |= 1 // never zero
	return d
}

func drawName(t *rapid.T) string { return rapid.StringN(0, -1, maxName).Draw(t, "name") }

func drawMessage(t *rapid.T) peer.Message {
	d := drawDigest(t)
	switch rapid.IntRange(0, 2).Draw(t, "type") {
	case 0:
		return peer.Bye{Digest: d}
	case 1:
		m := peer.Have{Digest: d}
		for range rapid.IntRange(1, 20).Draw(t, "pieces") {
			m.Pieces = append(m.Pieces, peer.Claim{Index: rapid.IntRange(0, piece.MaxPieces-1).Draw(t, "index"), Digest: drawDigest(t)})
		}
		return m
	}
	m := peer.Offer{
		From:   scheduler.Peer{Bulk: drawName(t), Zone: drawName(t), Rack: drawName(t)},
		Digest: d,
		Size:   scheduler.SizeUnknown,
		Have:   piece.NewBitfield(0),
		Reply:  rapid.Bool().Draw(t, "reply"),
	}
	for range rapid.IntRange(0, maxAddrs).Draw(t, "addrs") {
		m.From.Addrs = append(m.From.Addrs, drawName(t))
	}
	if rapid.Bool().Draw(t, "size known") {
		m.Size = rapid.Int64Range(0, 40*piece.MinSize).Draw(t, "size")
		layout, err := piece.NewLayout(m.Size)
		if err != nil {
			t.Fatal(err)
		}
		m.Have = piece.NewBitfield(layout.Count())
		for i := range layout.Count() {
			if rapid.Bool().Draw(t, "have") {
				m.Have.Set(i)
				m.Claims = append(m.Claims, drawDigest(t))
			}
		}
	}
	return m
}

func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(drawMessage), 1, 5).Draw(t, "messages")
		var wire []byte
		for _, m := range want {
			var err error
			if wire, err = appendMessage(wire, m); err != nil {
				t.Fatal(err)
			}
		}
		got, err := readFrames(wire)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, compareBitfields, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("messages differ (-want +got):\n%s", diff)
		}
		// Every frame that is cut short is noticed.
		cut := rapid.IntRange(1, len(wire)-1).Draw(t, "cut")
		if got, err := readFrames(wire[:cut]); err == nil && len(got) >= len(want) {
			t.Fatalf("%d of %d bytes gave all messages", cut, len(wire))
		}
	})
}

func TestLongHaveIsSplit(t *testing.T) {
	m := peer.Have{Pieces: make([]peer.Claim, piece.MaxPieces)}
	for i := range m.Pieces {
		m.Pieces[i] = peer.Claim{Index: i, Digest: piece.Digest{1}}
	}
	wire, err := appendMessage(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readFrames(wire)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if a, b := got[0].(peer.Have).Pieces, got[1].(peer.Have).Pieces; len(a) != maxHave || len(b) != 1 || b[0] != m.Pieces[maxHave] {
		t.Errorf("split into %d and %d pieces", len(a), len(b))
	}
}

func TestLargestOfferFits(t *testing.T) {
	name := strings.Repeat("x", maxName)
	m := peer.Offer{
		Size: piece.MaxBlobSize, Have: piece.FullBitfield(piece.MaxPieces), Claims: make([]piece.Digest, piece.MaxPieces),
		From: scheduler.Peer{Bulk: name, Zone: name, Rack: name},
	}
	for range maxAddrs {
		m.From.Addrs = append(m.From.Addrs, name)
	}
	wire, err := appendMessage(nil, m)
	if err != nil || len(wire) > maxFrame {
		t.Errorf("largest offer takes %d bytes, %v", len(wire), err)
	}
}

func TestSenderIsCutToWhatFits(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	m := peer.Offer{Size: scheduler.SizeUnknown, From: scheduler.Peer{Bulk: "b", Zone: long, Addrs: []string{long, "1", "2", "3", "4", "5", "6", "7", "8", "9"}}}
	wire, err := appendMessage(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readFrames(wire)
	if err != nil {
		t.Fatal(err)
	}
	want := scheduler.Peer{Bulk: "b", Addrs: []string{"1", "2", "3", "4", "5", "6", "7", "8"}}
	if diff := cmp.Diff(want, got[0].(peer.Offer).From); diff != "" {
		t.Errorf("sender differs (-want +got):\n%s", diff)
	}
}

func TestBrokenOfferIsNotSent(t *testing.T) {
	wire, err := appendMessage([]byte("kept"), peer.Offer{Size: piece.MinSize, Have: piece.FullBitfield(1)})
	if err == nil || string(wire) != "kept" {
		t.Errorf("%q, %v", wire, err)
	}
}

// frameOf is a frame with that type and body.
func frameOf(typ byte, body ...[]byte) []byte {
	return endFrame(append(beginFrame(nil, typ), bytes.Join(body, nil)...), 0)
}

// malformed are streams that must end the link.
func malformed() map[string][]byte {
	digest := bytes.Repeat([]byte{1}, piece.DigestSize)
	zero := make([]byte, piece.DigestSize)
	size := []byte{0, 0, 0, 0, 0, 0, 0, 1}
	unknown := bytes.Repeat([]byte{0xff}, 8)
	one := []byte{0, 0, 0, 5, 0, 0, 0, 1, 1}
	none := []byte{0, 0, 0, 4, 0, 0, 0, 0}
	sender := []byte{0, 0, 0, 0}
	return map[string][]byte{
		"empty frame":                {0, 0, 0, 0},
		"frame too long":             {0, 0x40, 0, 1, 1},
		"unknown type":               frameOf(9),
		"short bye":                  frameOf(typeBye, digest[1:]),
		"long bye":                   frameOf(typeBye, digest, []byte{0}),
		"have of nothing":            frameOf(typeHave, digest, []byte{0, 0}),
		"have cut short":             frameOf(typeHave, digest, []byte{0, 2}, make([]byte, claimSize)),
		"have of piece 65536":        frameOf(typeHave, digest, []byte{0, 1, 0, 1, 0, 0}, digest),
		"have with zero claim":       frameOf(typeHave, digest, []byte{0, 1, 0, 0, 0, 0}, zero),
		"offer with unknown flags":   frameOf(typeOffer, []byte{4}, digest, unknown, none, sender),
		"offer without its ticket":   frameOf(typeOffer, []byte{flagTicket}, digest, unknown, none, sender),
		"offer of an empty ticket":   frameOf(typeOffer, []byte{flagTicket}, digest, unknown, none, sender, []byte{0, 0}),
		"offer of a ticket in part":  frameOf(typeOffer, []byte{flagTicket}, digest, unknown, none, sender, []byte{0, 2, 7}),
		"offer of a huge ticket":     frameOf(typeOffer, []byte{flagTicket}, digest, unknown, none, sender, []byte{8, 0}, make([]byte, 2048)),
		"offer with more at its end": frameOf(typeOffer, []byte{flagTicket}, digest, unknown, none, sender, []byte{0, 1, 7, 7}),

		"offer of negative size":    frameOf(typeOffer, []byte{0}, digest, unknown[1:], []byte{0xfe}, none, sender),
		"offer of pieces, no size":  frameOf(typeOffer, []byte{0}, digest, unknown, one, digest, sender),
		"offer of too many pieces":  frameOf(typeOffer, []byte{0}, digest, size, []byte{0, 0, 0, 5, 0, 0, 0, 2, 1}, digest, sender),
		"offer with bad bitfield":   frameOf(typeOffer, []byte{0}, digest, size, []byte{0, 0, 0, 5, 0, 0, 0, 1, 3}, digest, sender),
		"offer without its claims":  frameOf(typeOffer, []byte{0}, digest, size, one, sender),
		"offer with a zero claim":   frameOf(typeOffer, []byte{0}, digest, size, one, zero, sender),
		"offer with long bitfield":  frameOf(typeOffer, []byte{0}, digest, size, bytes.Repeat([]byte{0xff}, 8)),
		"offer with many addresses": frameOf(typeOffer, []byte{0}, digest, unknown, none, []byte{maxAddrs + 1}, make([]byte, 20)),
		"offer from no text":        frameOf(typeOffer, []byte{0}, digest, unknown, none, []byte{0, 1, 0xff, 0, 0}),
	}
}

func TestMalformedFrames(t *testing.T) {
	for name, wire := range malformed() {
		if got, err := readFrames(wire); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestBitfieldOfNoPiecesStandsForNone(t *testing.T) {
	wire, err := appendMessage(nil, peer.Offer{Size: 3 * piece.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readFrames(wire)
	if err != nil {
		t.Fatal(err)
	}
	if have := got[0].(peer.Offer).Have; have.Len() != 3 || have.Count() != 0 {
		t.Errorf("bitfield has %d of %d pieces", have.Count(), have.Len())
	}
}

func TestMemoryFollowsWhatArrives(t *testing.T) {
	claimed := []byte{0, 0x3f, 0xff, 0xff, typeOffer} // 4 MiB, of which one byte comes
	f := frameReader{
		r:       bufio.NewReader(bytes.NewReader(claimed)),
		reserve: func(int) (func(), error) { return func() {}, nil },
		begun:   func() {},
	}
	if _, _, err := f.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if got := cap(f.buf); got > 2*keepBuffer {
		t.Errorf("%d bytes for a frame of which one byte came", got)
	}
	f.r, f.reserve = bufio.NewReader(bytes.NewReader(claimed)), func(int) (func(), error) { return nil, errors.New("full") }
	if _, _, err := f.next(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("frame without memory: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	for _, wire := range malformed() {
		f.Add(wire)
	}
	var wire []byte
	for _, m := range []peer.Message{
		offerOf(scheduler.Peer{Addrs: []string{"/ip4/10.0.0.1/tcp/5081"}, Bulk: "10.0.0.1:5082", Zone: "z", Rack: "r"}),
		peer.Offer{Size: scheduler.SizeUnknown, Have: piece.NewBitfield(0), Ticket: []byte("ticket")},
		peer.Have{Pieces: []peer.Claim{{Index: math.MaxUint16, Digest: piece.Digest{1}}}},
		peer.Bye{},
	} {
		var err error
		if wire, err = appendMessage(wire, m); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, err := readFrames(wire)
		var again []byte
		for _, m := range got {
			var err error
			if again, err = appendMessage(again, m); err != nil {
				t.Fatalf("message that was read cannot be written: %v", err)
			}
		}
		if err == nil {
			twice, err := readFrames(again)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, twice, compareBitfields, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("messages change when they are passed on:\n%s", diff)
			}
		}
	})
}
