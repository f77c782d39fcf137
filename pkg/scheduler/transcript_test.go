package scheduler_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays each testdata/*.txt and holds the decisions against
// those written there. Each file opens with what it shows, then has lines
//
//	TIME: who does what
//
// as the verbs below read them, each followed by the decisions, indented.
// Time between lines passes in ticks, whose decisions are shown with theirs. A line
// as originNearer sets Config.OriginNearer.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("decisions changed (-file +now; go test -update rewrites):\n%s", diff)
			}
		})
	}
}

// stage is a transcript while it is played.
type stage struct {
	core  *scheduler.Scheduler
	start time.Time
	now   time.Time
	sizes map[string]int64 // what was last said of each blob
	names map[piece.Digest]string
	out   strings.Builder
}

// originNearer is the line of a transcript that sets Config.OriginNearer.
const originNearer = "config: the origin is nearer than another zone"

var lineForm = regexp.MustCompile(`^([0-9.]+m?s): (.+)$`)

func play(t *testing.T, text string) string {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &stage{
		core: scheduler.New(scheduler.Config{Seed: 1, OriginNearer: slices.Contains(strings.Split(text, "\n"), originNearer)}), start: start, now: start, sizes: make(map[string]int64),
		names: make(map[piece.Digest]string),
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // a decision: it is made anew
		}
		m := lineForm.FindStringSubmatch(line)
		if m == nil {
			fmt.Fprintln(&s.out, line)
			continue
		}
		at, err := time.ParseDuration(m[1])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		s.passUntil(start.Add(at))
		fmt.Fprintln(&s.out, line)
		if m[2] == "time passes" {
			continue
		}
		for _, e := range s.parse(t, m[2]) {
			s.show(s.core.Step(s.now, e))
		}
	}
	return s.out.String()
}

// passUntil ticks up to t.
func (s *stage) passUntil(t time.Time) {
	for ; s.now.Add(scheduler.TickEvery).Before(t); s.now = s.now.Add(scheduler.TickEvery) {
		tick := s.now.Add(scheduler.TickEvery)
		if ds := s.core.Step(tick, scheduler.Tick{}); len(ds) > 0 {
			fmt.Fprintf(&s.out, "    at %v:\n", tick.Sub(s.start))
			s.show(ds)
		}
	}
	s.now = t
}

func (s *stage) show(ds []scheduler.Decision) {
	for _, d := range ds {
		var what string
		switch d := d.(type) {
		case scheduler.Introduce:
			var names []string
			for _, p := range d.Peers {
				names = append(names, string(p.ID))
			}
			what = fmt.Sprintf("meet %s for %s", strings.Join(names, ", "), s.names[d.Digest])
			if d.Proven {
				what = fmt.Sprintf("%s has %s whole", strings.Join(names, ", "), s.names[d.Digest])
			}
			if len(names) == 0 {
				what = fmt.Sprintf("nobody to meet for %s, which has %d bytes", s.names[d.Digest], d.Size)
			}
			if len(names) == 0 && d.Size == scheduler.SizeUnknown {
				what = fmt.Sprintf("nobody to meet for %s, whose size is not known", s.names[d.Digest])
			}
		case scheduler.Part:
			what = fmt.Sprintf("part from %v in %s", d.Peers[0], s.names[d.Digest])
		case scheduler.Grant:
			what = fmt.Sprintf("lease %d on pieces %v of %s", d.Lease.ID, d.Lease.Pieces, s.names[d.Digest])
			if d.Lease.Whole {
				what = fmt.Sprintf("lease %d on the whole of %s", d.Lease.ID, s.names[d.Digest])
			}
		case scheduler.Revoke:
			what = fmt.Sprintf("lease %d on %s is revoked", d.Lease, s.names[d.Digest])
		case scheduler.Shun:
			what = fmt.Sprintf("have nothing to do with %s for %v", d.Peer, d.For)
			if d.For == 0 {
				what = fmt.Sprintf("take %s for a peer again", d.Peer)
			}
		case scheduler.Expel:
			what = fmt.Sprintf("to be kept out for %v", d.For)
		case scheduler.Wait:
			what = fmt.Sprintf("wait for %v for %s", d.For, s.names[d.Digest])
		}
		fmt.Fprintf(&s.out, "    %s: %s (%s)\n", d.Recipient(), what, d.Why())
	}
}

// verbs are the sentences that a transcript is made of.
var verbs = []struct {
	form *regexp.Regexp
	make func(s *stage, who scheduler.PeerID, m []string) scheduler.Event
}{
	{regexp.MustCompile(`^comes? up(?: in zone (\w+))?(?: rack (\w+))?$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.PeerUp{Peer: scheduler.Peer{ID: who, Zone: m[1], Rack: m[2]}}
	}},
	{regexp.MustCompile(`^go(?:es)? down$`), func(_ *stage, who scheduler.PeerID, _ []string) scheduler.Event {
		return scheduler.PeerDown{Peer: who}
	}},
	{regexp.MustCompile(`^(?:is|are) banned for (\d+)s: (.+)$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.BanPeer{Peer: who, For: time.Duration(number(m[1])) * time.Second, Reason: m[2]}
	}},
	{regexp.MustCompile(`^(?:is|are) unbanned$`), func(_ *stage, who scheduler.PeerID, _ []string) scheduler.Event {
		return scheduler.UnbanPeer{Peer: who}
	}},
	{regexp.MustCompile(`^joins? (\w+) of (?:(\d+)MiB|unknown size)(?: with (\d+)\.\.(\d+))?$`), func(s *stage, who scheduler.PeerID, m []string) scheduler.Event {
		s.names[piece.Sum([]byte(m[1]))] = m[1]
		b := scheduler.Membership{Digest: piece.Sum([]byte(m[1])), Size: scheduler.SizeUnknown, Origin: "origin.test"}
		if m[2] != "" {
			b.Size = number(m[2]) << 20
			s.sizes[m[1]] = b.Size
			b.Have = bits(b.Size, m[3], m[4])
		}
		return scheduler.Join{Peer: who, Blobs: []scheduler.Membership{b}}
	}},
	{regexp.MustCompile(`^brings? (\w+) of (\d+)MiB(?: with (\d+)\.\.(\d+))?(?: and lease (\d+) on (\d+)\.\.(\d+))?$`), func(s *stage, who scheduler.PeerID, m []string) scheduler.Event {
		s.names[piece.Sum([]byte(m[1]))] = m[1]
		b := scheduler.Membership{Digest: piece.Sum([]byte(m[1])), Origin: "origin.test", Size: number(m[2]) << 20, Moved: true}
		s.sizes[m[1]] = b.Size
		b.Have = bits(b.Size, m[3], m[4])
		if m[5] != "" {
			b.Leases = []scheduler.Lease{{ID: scheduler.LeaseID(number(m[5])), Pieces: piece.Range{First: int(number(m[6])), End: int(number(m[7]))}}}
		}
		return scheduler.Join{Peer: who, Blobs: []scheduler.Membership{b}}
	}},
	{regexp.MustCompile(`^leaves? (\w+)$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.Leave{Peer: who, Digest: piece.Sum([]byte(m[1]))}
	}},
	{regexp.MustCompile(`^(has|is stalled with) (\d+)\.\.(\d+) of (\w+)(?:, (\d+)MiB under lease (\d+))?(?:, (\d+)MiB from (\w+))?$`), func(s *stage, who scheduler.PeerID, m []string) scheduler.Event {
		size := s.sizes[m[4]]
		p := scheduler.Progress{
			Digest: piece.Sum([]byte(m[4])), Size: size, Have: bits(size, m[2], m[3]), Stalled: m[1] != "has",
		}
		if m[5] != "" {
			p.Leases = []scheduler.LeaseBytes{{ID: scheduler.LeaseID(number(m[6])), Bytes: number(m[5]) << 20}}
		}
		if m[7] != "" {
			p.Rates = []scheduler.NeighbourBytes{{Peer: scheduler.PeerID(m[8]), Bytes: number(m[7]) << 20}}
		}
		return scheduler.Summary{Peer: who, Blobs: []scheduler.Progress{p}}
	}},
	{regexp.MustCompile(`^learns that (\w+) has (\d+)MiB$`), func(s *stage, who scheduler.PeerID, m []string) scheduler.Event {
		s.sizes[m[1]] = number(m[2]) << 20
		return scheduler.Summary{Peer: who, Blobs: []scheduler.Progress{{Digest: piece.Sum([]byte(m[1])), Size: s.sizes[m[1]]}}}
	}},
	{regexp.MustCompile(`^(is done with|fails|finds no ranges under|is sent away for (\d+)s under) lease (\d+) on (\w+)$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		e := scheduler.LeaseEnd{Peer: who, Digest: piece.Sum([]byte(m[4])), Lease: scheduler.LeaseID(number(m[3]))}
		switch {
		case m[2] != "":
			e.Outcome, e.RetryAfter = scheduler.OriginBusy, time.Duration(number(m[2]))*time.Second
		case m[1] == "fails":
			e.Outcome = scheduler.Failed
		case m[1] == "is done with":
			e.Outcome = scheduler.Done
		default:
			e.Outcome = scheduler.NoRange
		}
		return e
	}},
	{regexp.MustCompile(`^disputes (\w+)$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.Dispute{Peer: who, Digest: piece.Sum([]byte(m[1]))}
	}},
	{regexp.MustCompile(`^has (\w+) right at last, piece (\d+) was false$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.Dispute{Peer: who, Digest: piece.Sum([]byte(m[1])), Settled: true, Pieces: []int{int(number(m[2]))}}
	}},
	{regexp.MustCompile(`^gives (\w+) up, which is false as it reads it$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.Dispute{Peer: who, Digest: piece.Sum([]byte(m[1])), Misread: true}
	}},
	{regexp.MustCompile(`^has (\w+) right at last, piece (\d+) was false as it had read it$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		return scheduler.Dispute{Peer: who, Digest: piece.Sum([]byte(m[1])), Settled: true, Pieces: []int{int(number(m[2]))}, Misread: true}
	}},
	{regexp.MustCompile(`^blames (\w+) for (slow|unreachable|false) (\w+)$`), func(_ *stage, who scheduler.PeerID, m []string) scheduler.Event {
		faults := map[string]scheduler.Fault{"slow": scheduler.Slow, "unreachable": scheduler.Unreachable, "false": scheduler.False}
		return scheduler.Blame{Peer: who, Neighbour: scheduler.PeerID(m[1]), Digest: piece.Sum([]byte(m[3])), Fault: faults[m[2]]}
	}},
}

// parse reads "a b c VERB", which is an event of each of the three.
func (s *stage) parse(t *testing.T, sentence string) []scheduler.Event {
	words := strings.Fields(sentence)
	for n := 1; n < len(words); n++ {
		rest := strings.Join(words[n:], " ")
		for _, v := range verbs {
			m := v.form.FindStringSubmatch(rest)
			if m == nil {
				continue
			}
			var es []scheduler.Event
			for _, who := range words[:n] {
				es = append(es, v.make(s, scheduler.PeerID(who), m))
			}
			return es
		}
	}
	t.Fatalf("nobody understands %q", sentence)
	return nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // the form admits digits alone
	return n
}

// bits are the pieces first..end of a blob; none if the strings are empty.
func bits(size int64, first, end string) piece.Bitfield {
	l, _ := piece.NewLayout(size)
	b := piece.NewBitfield(l.Count())
	if end != "" {
		for i := number(first); i < number(end); i++ {
			b.Set(int(i))
		}
	}
	return b
}
