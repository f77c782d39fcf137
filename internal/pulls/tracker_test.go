package pulls

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/pkg/piece"
)

// bench is a tracker with a clock that the test moves.
type bench struct {
	*Tracker
	now time.Time
}

func newBench() *bench {
	return &bench{New(Config{Registry: func(host string) string { return host[:1] }}), time.Unix(1000, 0)}
}

func (b *bench) wait(d time.Duration) { b.now = b.now.Add(d) }

// of is content of one repository, by a name that the test makes up.
func of(what string) Name { return Name{"registry.test", "team/app", piece.Sum([]byte(what))} }

// list is an image of blobs of 100 bytes each.
func (b *bench) list(image string, blobs ...string) {
	var all []Blob
	for _, name := range blobs {
		all = append(all, Blob{of(name).Digest, 100})
	}
	b.Listed(b.now, b.now, of(image), all)
}

// get has a blob asked for and answered after a while, from off on for n bytes.
func (b *bench) get(blob string, took time.Duration, off, n int64, how ...func(*Answer)) {
	a := Answer{Of: of(blob), Began: b.now, First: took / 2, FirstFrom: FromOrigin, Off: off, Sent: n, Size: 100, Source: FromPeer}
	for _, f := range how {
		f(&a)
	}
	b.Asked(b.now, a.Of)
	b.wait(took)
	b.Answered(b.now, a)
}

func refused(a *Answer) { a.Refused, a.First = true, 0 }

// took are the pulls that have ended, with the sum of their durations.
func (b *bench) took() map[string]string {
	all := make(map[string]string)
	for e, s := range b.Stats(b.now).Took {
		all[e.Registry+" "+string(e.Outcome)] = fmt.Sprintf("%d in %v", s.Count(), s.Sum)
	}
	return all
}

func (b *bench) expect(t *testing.T, when string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, b.took()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

type none = map[string]string

// A pull ends with the last byte of the last blob, and has begun with the tag.
func TestAPull(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.Named(b.now, "1", of("index"))
	b.wait(time.Second)
	b.Named(b.now, "1", of("image")) // by the index
	b.wait(time.Second)
	b.list("image", "config", "layer", "layer")
	b.get("config", 2*time.Second, 0, 100)
	b.expect(t, "with one of two blobs", none{})
	if s := b.Stats(b.now); s.Running != 0 || s.Oldest != 0 {
		t.Errorf("between two requests: %d run, the oldest for %v", s.Running, s.Oldest)
	}
	b.wait(time.Minute)
	b.Asked(b.now, of("layer"))
	b.wait(4 * time.Minute)
	if s := b.Stats(b.now); s.Running != 1 || s.Oldest != 5*time.Minute+4*time.Second-time.Second {
		t.Errorf("amid the last blob: %d run, the oldest for %v", s.Running, s.Oldest)
	}
	b.Answered(b.now, Answer{Of: of("layer"), Sent: 100, Size: 100, Source: FromPeer})
	b.expect(t, "at the end", none{"r complete": "1 in 5m3s"})
	s := b.Stats(b.now)
	if s.Blob[FromPeer].Count() != 2 || s.Blob[FromPeer].Sum != 4*time.Minute+2*time.Second {
		t.Errorf("blobs took %+v", s.Blob[FromPeer])
	}
	if s.FirstByte[FromOrigin].Count() != 1 || s.FirstByte[FromOrigin].Sum != time.Second {
		t.Errorf("first bytes took %+v", s.FirstByte[FromOrigin])
	}
	if len(b.pulls)+len(b.parts) != 0 {
		t.Errorf("left: %d pulls, %d blobs", len(b.pulls), len(b.parts))
	}
}

// Of a pull that is traced, what it is counted in has its trace as an example: the
// first that its requests tell. Of others nothing has one.
func TestTraces(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.list("image", "config", "layer")
	b.get("config", time.Second, 0, 100)
	b.get("layer", time.Second, 0, 100)
	if s := b.Stats(b.now); len(s.Took[Ending{"r", Complete}].Traced)+len(s.Blob[FromPeer].Traced)+len(s.FirstByte[FromOrigin].Traced) != 0 {
		t.Errorf("traces of what has none: %+v", s)
	}
	traced := func(id string) func(*Answer) { return func(a *Answer) { a.Trace = id } }
	b.list("image", "config", "layer")
	b.get("config", time.Second, 0, 100, traced("one"))
	b.get("layer", time.Minute, 0, 100, traced("two"))
	s := b.Stats(b.now)
	for what, tt := range map[string]struct {
		got  []histogram.Exemplar
		want string
	}{
		"pull": {s.Took[Ending{"r", Complete}].Traced, "one"}, "blob": {s.Blob[FromPeer].Traced, "one two"}, "first byte": {s.FirstByte[FromOrigin].Traced, "one two"},
	} {
		var ids []string
		for _, e := range tt.got {
			ids = append(ids, e.Trace)
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%s: traces %q, want %q", what, got, tt.want)
		}
	}
}

// Who has some layers already asks for the rest only: the pull has ended with
// the last byte, though that shows later.
func TestAPullOfWhatTheClientLacks(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.list("image", "config", "base", "app")
	b.get("app", 3*time.Second, 0, 100)
	b.wait(quietFor)
	b.expect(t, "while another request may come", none{})
	b.wait(sweepEvery)
	b.expect(t, "after that", none{"r complete": "1 in 3s"})
}

// Who reads manifests alone pulls nothing.
func TestNoPull(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.list("image", "config", "layer")
	b.list("no blobs")
	b.wait(time.Hour)
	b.expect(t, "later", none{})
	if len(b.pulls) != 0 {
		t.Errorf("%d pulls are left", len(b.pulls))
	}
}

// A blob in chunks, in any order and twice in part, is whole once all of it was
// sent.
func TestChunks(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.list("image", "layer")
	b.get("layer", time.Second, 50, 25)
	b.get("layer", time.Second, 0, 40)
	b.get("layer", time.Second, 70, 30)
	b.get("layer", time.Second, -1, 10) // several parts: nobody knows which
	b.expect(t, "with a gap", none{})
	b.get("layer", time.Second, 30, 20)
	b.expect(t, "without", none{"r complete": "1 in 5s"})
	if s := b.Stats(b.now); s.FirstByte[FromOrigin].Count() != 1 {
		t.Errorf("%d first bytes, want that of the one chunk at the beginning", s.FirstByte[FromOrigin].Count())
	}
}

// What was refused makes a pull fail, unless it came in the end; who went away
// has read parts.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(b *bench)
		want string
	}{
		"refused":              {func(b *bench) { b.get("a", time.Second, 0, 100); b.get("b", time.Second, 0, 0, refused) }, "r failed"},
		"cut, then whole":      {func(b *bench) { b.get("a", time.Second, 0, 60, refused); b.get("a", time.Second, 60, 40) }, "r complete"},
		"the client went away": {func(b *bench) { b.get("a", time.Second, 0, 60); b.get("b", time.Second, 0, 100) }, "r partial"},
		"parts, and a refusal": {func(b *bench) { b.get("a", time.Second, 0, 60); b.get("b", time.Second, 0, 0, refused) }, "r failed"},
	} {
		b := newBench()
		b.list("image", "a", "b")
		c.do(b)
		b.wait(time.Hour)
		b.expect(t, name, none{c.want: "1 in 2s"})
	}
}

// Images share layers: a layer that both wait for is sent once, and ends both.
func TestASharedLayer(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.list("one", "base")
	b.wait(time.Second)
	b.list("two", "base")
	b.list("two", "base") // read again: the same pull
	b.get("base", time.Second, 0, 100)
	b.expect(t, "both", none{"r complete": "2 in 3s"})
	b.list("two", "base") // once more, from the start
	b.get("base", time.Second, 0, 100)
	b.expect(t, "again", none{"r complete": "3 in 4s"})
}

// A request that had begun before its manifest was read here counts by itself,
// and neither does its end harm the pull.
func TestARequestFromBefore(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.Asked(b.now, of("layer"))
	b.wait(time.Second)
	b.list("image", "layer")
	b.Answered(b.now, Answer{Of: of("layer"), Began: b.now.Add(-time.Second), Sent: 100, Size: 100, Source: FromCache})
	if s := b.Stats(b.now); s.Blob[FromCache].Sum != time.Second || s.Running != 0 {
		t.Errorf("%+v", s)
	}
	b.get("layer", time.Second, 0, 100)
	b.expect(t, "the pull", none{"r complete": "1 in 1s"})
}

// What named a manifest long ago, or of another repository, is no beginning.
func TestLeads(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.Named(b.now, "1", of("image"))
	other := of("other")
	other.Repo = "another/app"
	b.wait(askedFor)
	b.Named(b.now, "1", other)
	b.wait(time.Second)
	b.list("image", "a")
	b.list("other", "b")
	b.get("a", time.Second, 0, 100)
	b.get("b", time.Second, 0, 100)
	b.expect(t, "both", none{"r complete": "2 in 3s"}) // the second waited for the first
}

// However many images are read, no more than so many are followed, and those
// without a request for longest go first.
func TestBounds(t *testing.T) {
	t.Parallel()
	b := newBench()
	for i := range 2 * pullsMost {
		b.list(fmt.Sprint("image ", i), fmt.Sprint("layer ", i))
		b.wait(time.Millisecond)
	}
	if len(b.pulls) != pullsMost || len(b.parts) != pullsMost || b.pulls[of(fmt.Sprint("image ", 2*pullsMost-1))] == nil {
		t.Errorf("%d pulls, %d blobs", len(b.pulls), len(b.parts))
	}
	for i := range 3 * leadsMost {
		b.Named(b.now, "1", of(fmt.Sprint("lead ", i)))
	}
	if len(b.leads) > leadsMost {
		t.Errorf("%d leads", len(b.leads))
	}
	var c coverage
	for i := range 2 * int64(spansMost) {
		c.add(span{3 * i, 3*i + 1})
	}
	if len(c.spans) != spansMost || c.whole(6*spansMost) {
		t.Errorf("%d spans", len(c.spans))
	}
}

// What is counted of known registries is there before the first pull.
func TestRegistriesFromTheStart(t *testing.T) {
	t.Parallel()
	tr := New(Config{Registries: []string{"a", "other"}})
	if got := tr.Stats(time.Now()).Took; len(got) != 6 {
		t.Errorf("%d, want three outcomes of two: %v", len(got), got)
	}
	var nobody *Tracker
	nobody.Asked(time.Now(), Name{})
	nobody.Answered(time.Now(), Answer{})
	nobody.Listed(time.Now(), time.Now(), Name{}, []Blob{{}})
	nobody.Named(time.Now(), "", Name{})
}

// The five minutes that are promised are an edge of a bucket.
func TestFiveMinutesAreAnEdge(t *testing.T) {
	t.Parallel()
	found := false
	for _, bound := range pullBounds() {
		found = found || bound == 5*time.Minute
	}
	if !found || pullBounds()[len(pullBounds())-1] < 10*time.Minute {
		t.Errorf("bounds %v", pullBounds())
	}
}
