package piece_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
)

// The piece size is part of the protocol: a change here splits clusters.
func TestPieceSizes(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		size, pieceSize int64
		count           int
	}{
		{0, mib, 0}, {1, mib, 1}, {mib, mib, 1}, {mib + 1, mib, 2}, {200 * mib, mib, 200},
		{512 * mib, mib, 512}, {512*mib + 1, 2 * mib, 257}, {1024 * mib, 2 * mib, 512},
		{4096 * mib, 8 * mib, 512}, {8192 * mib, 16 * mib, 512}, {10240 * mib, 16 * mib, 640}, {piece.MaxBlobSize, 16 * mib, piece.MaxPieces},
	} {
		l, err := piece.NewLayout(c.size)
		if err != nil || l.PieceSize() != c.pieceSize || l.Count() != c.count {
			t.Errorf("%d bytes: %d pieces of %d, %v; want %d of %d", c.size, l.Count(), l.PieceSize(), err, c.count, c.pieceSize)
		}
	}
	for _, size := range []int64{-1, piece.MaxBlobSize + 1} {
		if _, err := piece.NewLayout(size); err == nil {
			t.Errorf("a layout of %d bytes was made", size)
		}
	}
}

// Pieces lie side by side and fill the blob; Index, Covering and Span agree.
func TestPiecesTileTheBlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 1<<33).Draw(t, "size")
		l, err := piece.NewLayout(size)
		if err != nil {
			t.Fatal(err)
		}
		var end int64
		for i := range l.Count() {
			off, n := l.Bounds(i)
			if off != end || n <= 0 || l.Index(off) != i || l.Index(off+n-1) != i {
				t.Fatalf("piece %d is [%d, %d+%d), the one before ends at %d", i, off, off, n, end)
			}
			end = off + n
		}
		if end != size {
			t.Fatalf("pieces end at %d of %d", end, size)
		}
		// Enough pieces to spread, few enough to tell of.
		if n := l.Count(); n > 512 && l.PieceSize() < piece.MaxSize || n <= 256 && l.PieceSize() > piece.MinSize {
			t.Fatalf("%d bytes are %d pieces of %d", size, n, l.PieceSize())
		}
		off := rapid.Int64Range(0, size+10).Draw(t, "off")
		n := rapid.Int64Range(0, size+10).Draw(t, "n")
		r := l.Covering(off, n)
		if n == 0 || off >= size {
			if r.Len() != 0 {
				t.Fatalf("nothing is covered by %v", r)
			}
			return
		}
		start, length := l.Span(r)
		if start > off || start+length < min(off+n, size) || off-start >= l.PieceSize() || start+length-min(off+n, size) >= l.PieceSize() {
			t.Fatalf("[%d, %d+%d) is covered by %v, which spans [%d, %d+%d)", off, off, n, r, start, start, length)
		}
	})
}

// A bitfield does what a set of numbers does, and survives the wire.
func TestBitfieldIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		b, model := piece.NewBitfield(n), make(map[int]bool)
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "i")
			if rapid.Bool().Draw(t, "set") {
				if b.Set(i) == model[i] {
					t.Fatalf("set %d says it changed: %v", i, !model[i])
				}
				model[i] = true
			} else {
				if b.Clear(i) != model[i] {
					t.Fatalf("clear %d says it changed: %v", i, !model[i])
				}
				delete(model, i)
			}
		}
		want := slices.Sorted(maps.Keys(model))
		from := rapid.IntRange(-1, n+1).Draw(t, "from")
		tail := slices.DeleteFunc(slices.Clone(want), func(i int) bool { return i < from })
		var runs []int
		for r := range b.Ranges() {
			for i := r.First; i < r.End; i++ {
				runs = append(runs, i)
			}
		}
		if diff := cmp.Diff(want, slices.Collect(b.All())); diff != "" && len(want) > 0 {
			t.Fatal(diff)
		}
		if !slices.Equal(tail, slices.Collect(b.From(from))) || !slices.Equal(want, runs) {
			t.Fatalf("from %d: %v; in runs: %v; want %v", from, slices.Collect(b.From(from)), runs, want)
		}
		if b.Count() != len(model) || b.Full() != (len(model) == n) {
			t.Fatalf("counts %d of %d, full %v", b.Count(), len(model), b.Full())
		}
		back, err := piece.ParseBitfield(b.Append(nil))
		if err != nil || !slices.Equal(slices.Collect(back.All()), slices.Collect(b.All())) || back.Len() != n || back.Count() != b.Count() {
			t.Fatalf("after the wire: %v, %v", back, err)
		}
	})
}

// Pieces past the end are nobody's: asking for them is answered, setting one
// is a programming error.
func TestBitfieldEnds(t *testing.T) {
	b := piece.FullBitfield(64)
	if b.Has(-1) || b.Has(64) || b.Clear(64) {
		t.Error("has a piece outside the blob")
	}
	c := b.Clone()
	c.Clear(63)
	if !b.Has(63) || b.Count() != 64 {
		t.Error("a clone shares its pieces")
	}
	for _, f := range []func(){func() { b.Set(64) }, func() { b.Set(-1) }, func() { piece.NewBitfield(-1) }, func() { piece.NewBitfield(piece.MaxPieces + 1) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic outside the blob")
				}
			}()
			f()
		}()
	}
}

func FuzzParseBitfield(f *testing.F) {
	full := piece.FullBitfield(70)
	f.Add(full.Append(nil))
	f.Add([]byte{0, 0, 0, 3, 0x0f})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := piece.ParseBitfield(p)
		if err != nil {
			if !errors.Is(err, piece.ErrBitfield) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if got := b.Append(nil); !bytes.Equal(got, p) {
			t.Fatalf("%x became %x", p, got)
		}
		if n := len(slices.Collect(b.All())); n != b.Count() {
			t.Fatalf("counts %d, has %d", b.Count(), n)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add(piece.Sum([]byte("x")).String())
	f.Add("sha512:00")
	f.Add("sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855")
	f.Add(":")
	f.Add(piece.Digest{}.String())
	f.Fuzz(func(t *testing.T, s string) {
		d, err := piece.ParseDigest(s)
		if err == nil && (d.String() != s || d.IsZero()) {
			t.Fatalf("%q became %q", s, d)
		}
	})
}

// A verifying reader ends well with the right bytes alone, however they come.
func TestVerify(t *testing.T) {
	content := bytes.Repeat([]byte("piece"), 1000)
	size, digest := int64(len(content)), piece.Sum(content)
	wrong := bytes.Clone(content)
	wrong[4321] ^= 1
	boom := errors.New("boom")
	var mismatch *piece.MismatchError
	for _, c := range []struct {
		name  string
		r     io.Reader
		want  piece.Digest
		check func(error) bool
	}{
		{"right", bytes.NewReader(content), digest, func(err error) bool { return err == nil }},
		{"a byte at a time", iotest.OneByteReader(bytes.NewReader(content)), digest, func(err error) bool { return err == nil }},
		{"with the end in the last read", iotest.DataErrReader(bytes.NewReader(content)), digest, func(err error) bool { return err == nil }},
		{"more than asked for", io.MultiReader(bytes.NewReader(content), iotest.ErrReader(boom)), digest, func(err error) bool { return err == nil }},
		{"any digest", bytes.NewReader(content), piece.Digest{}, func(err error) bool { return err == nil }},
		{"one bit wrong", bytes.NewReader(wrong), digest, func(err error) bool { return errors.As(err, &mismatch) && mismatch.Want == digest }},
		{"short", bytes.NewReader(content[:4999]), digest, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"broken", io.MultiReader(bytes.NewReader(content[:10]), iotest.ErrReader(boom)), digest, func(err error) bool { return errors.Is(err, boom) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := piece.Verify(c.r, size, c.want)
			got, err := io.ReadAll(v)
			if !c.check(err) {
				t.Errorf("ended with %v", err)
			}
			if err == nil && (!bytes.Equal(got, content) || v.Sum() != digest) {
				t.Errorf("%d bytes with digest %s", len(got), v.Sum().Short())
			}
			if _, again := v.Read(make([]byte, 1)); err != nil && again == nil {
				t.Error("read on after the failure")
			}
		})
	}
	if _, err := io.ReadAll(piece.Verify(bytes.NewReader(nil), 0, piece.Sum(nil))); err != nil {
		t.Errorf("the empty blob: %v", err)
	}
}

// However the bytes are cut into reads, and wherever they end or change, the
// reader ends as it promises and leaves what follows unread.
func TestVerifyAnyStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "content")
		after := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "after")
		size, digest := int64(len(content)), piece.Sum(content)
		sent := slices.Concat(content, after)
		fate := rapid.SampledFrom([]string{"right", "wrong", "short"}).Draw(t, "fate")
		at := rapid.IntRange(0, len(content)-1).Draw(t, "at")
		switch fate {
		case "wrong":
			sent[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "short":
			sent = sent[:at]
		}
		src := bytes.NewReader(sent)
		v := piece.Verify(src, size, digest)
		var err error
		got, buf := 0, make([]byte, rapid.IntRange(1, 600).Draw(t, "buffer"))
		for err == nil {
			var n int
			n, err = v.Read(buf)
			got += n
		}
		var mismatch *piece.MismatchError
		switch {
		case fate == "right" && (err != io.EOF || got != len(content)),
			fate == "wrong" && (!errors.As(err, &mismatch) || mismatch.Got != piece.Sum(sent[:size])),
			fate == "short" && (!errors.Is(err, io.ErrUnexpectedEOF) || got != at):
			t.Fatalf("%s: ended with %v after %d bytes", fate, err, got)
		}
		if fate != "short" && src.Len() != len(after) {
			t.Fatalf("%d bytes are left of the %d that follow", src.Len(), len(after))
		}
	})
}
