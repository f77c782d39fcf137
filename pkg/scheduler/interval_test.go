package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// assembly is a scheduler whose peers all want one blob.
type assembly struct {
	s     *Scheduler
	now   time.Time
	blob  piece.Digest
	have  piece.Bitfield
	every map[PeerID]time.Duration // as it told each
	told  int
}

func newAssembly() *assembly {
	return &assembly{
		s: New(Config{Seed: 1}), now: time.Unix(1000, 0), blob: piece.Sum([]byte("blob")),
		have: piece.NewBitfield(8), every: make(map[PeerID]time.Duration),
	}
}

func (a *assembly) step(e Event) {
	for _, d := range a.s.Step(a.now, e) {
		if i, ok := d.(SummaryInterval); ok {
			a.every[i.To] = i.Every
			a.told++
		}
	}
}

func (a *assembly) join(i int) {
	p := PeerID(fmt.Sprint("peer-", i))
	a.step(PeerUp{Peer: Peer{ID: p}})
	a.step(Join{Peer: p, Blobs: []Membership{{Digest: a.blob, Size: 8 << 20, Have: a.have.Clone()}}})
}

func (a *assembly) report(i int, have piece.Bitfield) {
	a.step(Summary{Peer: PeerID(fmt.Sprint("peer-", i)), Blobs: []Progress{{Digest: a.blob, Size: 8 << 20, Have: have}}})
}

func (a *assembly) hears(t *testing.T, i int, want time.Duration) {
	t.Helper()
	if got := max(a.every[PeerID(fmt.Sprint("peer-", i))], SummaryEvery); got != want {
		t.Errorf("with %d that report, peer %d does every %v, want %v", a.s.reporting, i, got, want)
	}
}

// However many peers report, together they do so about as often: who comes when there
// are many is told at once, who was there before with its next summary, and once.
func TestLargeCrowdsReportLessOften(t *testing.T) {
	t.Parallel()
	a := newAssembly()
	for i := range 2*summariesPerSecond + 1 {
		a.join(i)
	}
	a.hears(t, 0, time.Second)
	a.hears(t, summariesPerSecond, 2*time.Second)
	a.hears(t, 2*summariesPerSecond, 4*time.Second)
	before := a.told
	for range 3 {
		a.report(0, a.have.Clone())
	}
	a.hears(t, 0, 4*time.Second)
	if a.told != before+1 {
		t.Errorf("told %d times, want once", a.told-before)
	}

	// A few who go change nothing; when many have all, the others report more often.
	whole := piece.FullBitfield(8)
	for i := 1; i <= summariesPerSecond/5; i++ {
		a.report(i, whole)
	}
	a.report(0, a.have.Clone())
	a.hears(t, 0, 4*time.Second)
	for i := 1; i < 2*summariesPerSecond; i++ {
		a.report(i, whole)
	}
	a.report(0, a.have.Clone())
	a.hears(t, 0, time.Second)
	if err := a.s.audit(); err != nil {
		t.Error(err)
	}
}

// What a peer was told stands while it has nothing to report: only a change is told.
func TestTheIntervalStands(t *testing.T) {
	t.Parallel()
	a := newAssembly()
	const last = summariesPerSecond
	for i := range last + 1 {
		a.join(i)
	}
	a.hears(t, last, 2*time.Second)
	leave := func(i int) { a.step(Leave{Peer: PeerID(fmt.Sprint("peer-", i)), Digest: a.blob}) }
	leave(last)
	before := a.told
	a.join(last)
	if a.told != before {
		t.Error("a peer is told again what it was told before")
	}
	for i := range last + 1 {
		leave(i)
	}
	a.join(last)
	a.hears(t, last, time.Second)
	if err := a.s.audit(); err != nil {
		t.Error(err)
	}
}

// Where most members say that the blob has another size, nobody has all of it.
func TestReportersAreCountedWhereASizeIsOutvoted(t *testing.T) {
	t.Parallel()
	a := newAssembly()
	join := func(p PeerID, size int64, have piece.Bitfield) {
		a.step(PeerUp{Peer: Peer{ID: p}})
		a.step(Join{Peer: p, Blobs: []Membership{{Digest: a.blob, Size: size, Have: have}}})
	}
	join("seed", 8<<20, piece.FullBitfield(8))
	for i := range 3 {
		join(PeerID(fmt.Sprint("other-", i)), 9<<20, piece.NewBitfield(9))
	}
	if a.s.swarms[a.blob].size != 9<<20 || a.s.reporting != 4 {
		t.Errorf("size %d, %d report; want %d and 4", a.s.swarms[a.blob].size, a.s.reporting, 9<<20)
	}
	if err := a.s.audit(); err != nil {
		t.Error(err)
	}
}

// A node that reports seldom is not cut off because it has not told of bytes lately:
// once it calls for help it tells each second.
func TestWhoReportsSeldomIsNotCutOff(t *testing.T) {
	t.Parallel()
	a := newAssembly()
	for i := range 2*summariesPerSecond + 1 {
		a.join(i)
	}
	n, m := a.s.peers["peer-5000"], a.s.member("peer-5000", a.blob)
	m.stock.free = 0 // all is held or being read
	a.now = a.now.Add(3 * time.Second)
	m.stalled = a.now
	if a.s.now = a.now; a.s.noticeCutOff(m) {
		t.Error("cut off at its first call")
	}
	a.s.now = a.now.Add(cutOffAfter - 400*time.Millisecond)
	n.fed = a.s.now // as it tells with its summary
	a.s.now = a.now.Add(cutOffAfter + 100*time.Millisecond)
	if a.s.noticeCutOff(m) {
		t.Error("cut off although other blobs come")
	}
	if a.s.now = n.fed.Add(cutOffAfter); !a.s.noticeCutOff(m) {
		t.Error("not cut off although nothing has come for long")
	}
}

// A node that reports every four seconds has not begun anew with each report.
func TestTheIntakeIsKnownAtAnyInterval(t *testing.T) {
	t.Parallel()
	a := newAssembly()
	for i := range 2*summariesPerSecond + 1 {
		a.join(i)
	}
	for range 3 {
		a.now = a.now.Add(4 * time.Second)
		a.step(Summary{Peer: "peer-5000", Blobs: []Progress{{
			Digest: a.blob, Size: 8 << 20, Have: a.have.Clone(), Rates: []NeighbourBytes{{Peer: "peer-1", Bytes: 4 << 20}},
		}}})
	}
	if in := a.s.peers["peer-5000"].intake; !in.known || in.rate != 1<<20 {
		t.Errorf("its intake is %.0f bytes a second, known: %v; want %d", in.rate, in.known, 1<<20)
	}
}

func TestIntervalFor(t *testing.T) {
	t.Parallel()
	for peers, seconds := range map[int]float64{
		0: 1, 1: 1, summariesPerSecond: 1, summariesPerSecond + 1: 2, 4 * summariesPerSecond: 4, 8*summariesPerSecond + 1: 8, 1e6: 8,
	} {
		if got := intervalFor(peers); got.Seconds() != seconds {
			t.Errorf("%d peers report every %v, want %v s", peers, got, seconds)
		}
	}
}
