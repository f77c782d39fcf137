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

// Who has nothing to report begins anew: both sides know.
func TestTheIntervalEndsWithTheDownloads(t *testing.T) {
	t.Parallel()
	a := newAssembly()
	const last = summariesPerSecond
	for i := range last + 1 {
		a.join(i)
	}
	a.hears(t, last, 2*time.Second)
	a.step(Leave{Peer: PeerID(fmt.Sprint("peer-", last)), Digest: a.blob})
	before := a.told
	a.join(last)
	if a.told != before+1 {
		t.Error("a peer that had no download any more is not told again")
	}
	if err := a.s.audit(); err != nil {
		t.Error(err)
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
