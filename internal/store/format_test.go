package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/piece"
)

func layoutOf(t testing.TB, size int64) piece.Layout {
	t.Helper()
	l, err := piece.NewLayout(size)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func claimsOf(l piece.Layout) []piece.Digest {
	claims := make([]piece.Digest, l.Count())
	for i := range claims {
		claims[i] = piece.Sum([]byte{byte(i)})
	}
	return claims
}

// The bytes on disk must not change by accident: nodes are upgraded in place.
func TestTableFormat(t *testing.T) {
	l := layoutOf(t, 1<<20+1)
	tab := table{piece.Sum([]byte("blob")), l, claimsOf(l)}
	want := "7032706470637331" + "0000000000100001" + "00100000" +
		"fa2c8cc4f28176bbeed4b736df569a34c79cd3723e9ec42f9674b4d46ac6b8b8" +
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" +
		"4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"
	got := hex.EncodeToString(tab.encode())
	sum := sha256.Sum256(tab.encode()[:len(want)/2])
	if diff := cmp.Diff(want+hex.EncodeToString(sum[:]), got); diff != "" {
		t.Fatalf("table (-want +got):\n%s", diff)
	}
}

func TestJournalFormat(t *testing.T) {
	l := layoutOf(t, 1<<20+1)
	have := piece.NewBitfield(2)
	have.Set(1)
	want := "70327064696e6731" + "0000000000100001" + "00100000" + "76f0b651" +
		"00000001" + "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a" + "7cbd5107"
	got := hex.EncodeToString(encodeJournal(l, &have, claimsOf(l)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("journal (-want +got):\n%s", diff)
	}
}

func TestParseTableRefuses(t *testing.T) {
	l := layoutOf(t, 3<<20)
	good := (&table{piece.Sum(nil), l, claimsOf(l)}).encode()
	if _, err := parseTable(good); err != nil {
		t.Fatalf("a good table gave %v", err)
	}
	reseal := func(p []byte) []byte { // gives changed bytes a right checksum
		body := p[:len(p)-sha256.Size]
		sum := sha256.Sum256(body)
		return append(bytes.Clone(body), sum[:]...)
	}
	change := func(off int, b ...byte) []byte {
		p := bytes.Clone(good)
		copy(p[off:], b)
		return p
	}
	for name, p := range map[string][]byte{
		"nothing":              nil,
		"another magic":        reseal(change(0, 'x')),
		"a false checksum":     change(30, 1, 2, 3),
		"a negative size":      reseal(change(8, 0xff)),
		"a size too large":     reseal(change(8, 0, 1, 0, 0)),
		"pieces cut otherwise": reseal(change(16, 0, 0x20, 0, 0)),
		"a digest too few":     reseal(append(bytes.Clone(good[:len(good)-64]), good[:32]...)),
		"a digest too many":    reseal(append(bytes.Clone(good), good[:32]...)),
	} {
		if _, err := parseTable(p); !errors.Is(err, errTable) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	for _, size := range []int64{0, 1, 3 << 20} {
		l := layoutOf(f, size)
		f.Add((&table{piece.Sum(nil), l, claimsOf(l)}).encode())
	}
	f.Add([]byte(tableMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		tab, err := parseTable(p)
		if err != nil {
			if !errors.Is(err, errTable) {
				t.Fatalf("error %v is no errTable", err)
			}
			// The checksum hides the rest from the fuzzer; look behind it.
			if len(p) < tableHeader+sha256.Size {
				return
			}
			sum := sha256.Sum256(p[:len(p)-sha256.Size])
			p = append(bytes.Clone(p[:len(p)-sha256.Size]), sum[:]...)
			if tab, err = parseTable(p); err != nil {
				return
			}
		}
		if len(tab.claims) != tab.layout.Count() {
			t.Fatalf("%d claims for %d pieces", len(tab.claims), tab.layout.Count())
		}
		if !bytes.Equal(tab.encode(), p) {
			t.Fatal("what was parsed is not what it encodes to")
		}
	})
}

func FuzzParseJournal(f *testing.F) {
	for _, size := range []int64{0, 1, 3 << 20} {
		l := layoutOf(f, size)
		have := piece.FullBitfield(l.Count())
		p := encodeJournal(l, &have, claimsOf(l))
		f.Add(p)
		f.Add(appendRecord(p, 0, piece.Digest{}))
		f.Add(append(p, 1, 2, 3))
		f.Add(append(bytes.Clone(p), make([]byte, 100)...))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		l, claims, err := parseJournal(p)
		if err != nil {
			if !errors.Is(err, errJournal) {
				t.Fatalf("error %v is no errJournal", err)
			}
			return
		}
		if header, err := parseJournalHeader(p[:journalHeader]); err != nil || header != l {
			t.Fatalf("the header alone gave %v, %v", header, err)
		}
		if len(claims) != l.Count() {
			t.Fatalf("%d claims for %d pieces", len(claims), l.Count())
		}
		// What was parsed survives being written anew, as a resume does.
		have := piece.NewBitfield(l.Count())
		for i, c := range claims {
			if !c.IsZero() {
				have.Set(i)
			}
		}
		_, again, err := parseJournal(encodeJournal(l, &have, claims))
		if err != nil || !cmp.Equal(claims, again) {
			t.Fatalf("rewritten it gives other claims, %v", err)
		}
		// Every claim must stand in the bytes.
		for i := range have.All() {
			if !bytes.Contains(p, appendRecord(nil, i, claims[i])) {
				t.Fatalf("the claim of piece %d came from nowhere", i)
			}
		}
	})
}

// A record past the blob's end must not be written to memory that is not there.
func TestJournalRecordOutOfBlob(t *testing.T) {
	l := layoutOf(t, 2<<20)
	var none piece.Bitfield
	p := encodeJournal(l, &none, nil)
	p = appendRecord(p, 1, piece.Sum(nil))
	for _, i := range []int{2, 1<<32 - 1} {
		_, claims, err := parseJournal(appendRecord(bytes.Clone(p), i, piece.Sum(nil)))
		if err != nil || claims[1].IsZero() || len(claims) != 2 {
			t.Fatalf("claims %v, %v", claims, err)
		}
	}
	if got := binary.BigEndian.Uint64(p[8:]); got != 2<<20 {
		t.Fatalf("size in the header is %d", got)
	}
}

func TestParseName(t *testing.T) {
	d := piece.Sum(nil)
	for name, ext := range map[string]string{
		d.Hex():                   "",
		d.Hex() + ".pieces":       ".pieces",
		d.Hex() + ".state.tmp":    ".state.tmp",
		d.Hex()[:63]:              "-",
		d.Hex() + "0":             "-",
		"x" + d.Hex()[1:]:         "-",
		"sha256:" + d.Hex():       "-",
		"..":                      "-",
		"":                        "-",
		"../" + d.Hex() + ".part": "-",
	} {
		got, gotExt, ok := parseName(name)
		if ok != (ext != "-") || ok && (got != d || gotExt != ext) {
			t.Errorf("name %q gave %s, %q, %v", name, got.Short(), gotExt, ok)
		}
	}
}
