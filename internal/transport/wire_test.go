package transport

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// record names the file of testdata/wire that what is sent now is written to: do so
// with a release, and when a message has changed. Earlier files stay.
var record = flag.String("record", "", "write testdata/wire/`NAME`.txt")

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
		"have": peer.Have{Digest: d, Pieces: []peer.Claim{{Index: 2, Digest: claim}}},
		"bye":  peer.Bye{Digest: d},
	}
}

// What earlier versions sent is understood, word for word; and what is sent now is
// on record for later ones.
func TestWireOfEarlierVersions(t *testing.T) {
	now := make(map[string]string)
	for name, m := range wireMessages() {
		b, err := appendMessage(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		now[name] = hex.EncodeToString(b)
	}
	if *record != "" {
		var text bytes.Buffer
		for _, name := range slices.Sorted(maps.Keys(now)) {
			fmt.Fprintf(&text, "%s: %s\n", name, now[name])
		}
		if err := os.WriteFile(filepath.Join("testdata", "wire", *record+".txt"), text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/wire/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is on record: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, code, _ := strings.Cut(strings.TrimSpace(line), ": ")
			b, err := hex.DecodeString(code)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			got, err := readFrames(b)
			if diff := cmp.Diff([]peer.Message{wireMessages()[name]}, got, compareBitfields, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Errorf("%s: %s is understood otherwise: %v\n%s", file, name, err, diff)
			}
			if now[name] == code {
				delete(now, name)
			}
		}
	}
	for name := range now {
		t.Errorf("what is sent for %q is on no record: if that is meant, and is of another protocol than /p2pd/have/1, run this test with -record", name)
	}
}
