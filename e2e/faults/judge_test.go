package faults

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }

// good is a history without fault, in which everything was tried.
func good() History {
	return History{
		Seed: 1, Start: began, End: at(100),
		Pulls: []Pull{
			{Node: 1, Digest: "d", Size: 10, Start: at(1), End: at(2), Got: "d", Mirror: 10, MirrorEnded: true, MirrorGot: "d"},
			{Node: 2, Digest: "d", Size: 10, Start: at(31), End: at(32), Got: "d", Mirror: 4, Direct: 6},
			{Node: 2, Digest: "d", Size: 10, Start: at(51), End: at(52), Mirror: 4, Err: "500"},
			{Node: 2, Digest: "e", Size: 10, Start: at(81), End: at(82), Mirror: 9, Direct: 1, Got: "x", Err: "false"},
			{Node: 2, Digest: "e", Size: 10, Start: at(92), End: at(93), Got: "e", Mirror: 10, MirrorEnded: true, MirrorGot: "e"},
		},
		Faults: []Fault{
			{Kind: SchedulersKill, Start: at(30), End: at(35)},
			{Kind: OriginErrors, Start: at(50), End: at(55)},
			{Kind: NodeCut, Nodes: []int{1}, Start: at(60), End: at(65)},
			{Kind: NodeMisread, Nodes: []int{1}, Start: at(80), End: at(85)},
		},
		Quiets:     []Quiet{{Number: 1, Start: at(70), End: at(71), Nodes: 2, Bytes: 100, Origin: 104}, {Number: 2, Bytes: 100, Origin: 190, NoScheduler: true}, {Number: 3, Bytes: 100, Origin: 300, Misread: true}},
		Intrusions: []Intrusion{{As: "nobody", Status: 401}, {As: "the owner", Status: 200, Rightful: true}},
		Samples:    []Sample{{Process: "n1", RSS: 50 << 20, Files: 20, Goroutines: 100, StoreBytes: 5, Capacity: 10}},
	}
}

func broken(h History) []string {
	var all []string
	for _, v := range Judge(h) {
		if len(v.Violations) > 0 || v.Checked < v.Least {
			all = append(all, v.Promise)
		}
	}
	return all
}

// Each promise is seen to be broken by what breaks it, and by nothing else.
func TestJudges(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*History)
		want []string
	}{
		"all is well":                            {func(*History) {}, nil},
		"other bytes end well":                   {func(h *History) { h.Pulls[0].MirrorGot = "x" }, []string{"G1"}},
		"other bytes in the end":                 {func(h *History) { h.Pulls[1].Got = "x" }, []string{"G1"}},
		"a failure in peace":                     {func(h *History) { h.Pulls[0].Err, h.Pulls[0].Got = "no", "" }, []string{"G2"}},
		"a failure long after the origin's":      {func(h *History) { h.Pulls[2].Start, h.Pulls[2].End = at(70), at(71) }, []string{"G2"}},
		"a failure of another node than was cut": {func(h *History) { h.Pulls[2].Start, h.Pulls[2].End = at(61), at(62) }, []string{"G2"}},
		"a hang":                                 {func(h *History) { h.Pulls[1].End = at(95) }, []string{"G2", "G7"}},
		"two copies":                             {func(h *History) { h.Quiets[0].Origin = 200 }, []string{"G3"}},
		"three copies without a scheduler":       {func(h *History) { h.Quiets[1].Origin = 300 }, []string{"G3"}},
		"six copies while a node reads falsely":  {func(h *History) { h.Quiets[2].Origin = 600 }, []string{"G3"}},
		"false bytes that nobody had read so":    {func(h *History) { h.Faults = h.Faults[:3] }, []string{"G2"}},
		"false bytes of another blob":            {func(h *History) { h.Pulls[0].Got, h.Pulls[0].Err = "x", "false" }, []string{"G2"}},
		"false bytes a second time":              {func(h *History) { h.Pulls[4] = h.Pulls[3] }, []string{"G2"}},
		"false bytes that p2pd ends well":        {func(h *History) { h.Pulls[3].MirrorEnded, h.Pulls[3].MirrorGot = true, "x" }, []string{"G1"}},
		"false bytes while the origin fails, and once more": {func(h *History) {
			h.Pulls[2].Digest, h.Pulls[2].Got = "e", "x"
		}, nil},
		"no false bytes, but a failure": {func(h *History) { h.Pulls[3].Got = "" }, []string{"G2"}},
		"six copies, of which one past p2pd": {func(h *History) {
			h.Quiets[2].Origin, h.Quiets[2].Start, h.Quiets[2].End = 600, at(30), at(33)
			h.Pulls[1].Quiet, h.Pulls[1].Direct = 3, 100
		}, nil},
		"no quiet at all":               {func(h *History) { h.Quiets = nil }, []string{"G3"}},
		"private content for nobody":    {func(h *History) { h.Intrusions[0].Status = 206 }, []string{"G4"}},
		"nothing private to be had":     {func(h *History) { h.Intrusions[1].Status = 503 }, []string{"G4"}},
		"much memory":                   {func(h *History) { h.Samples[0].RSS = 1 << 30 }, []string{"G5"}},
		"many files":                    {func(h *History) { h.Samples[0].Files = 5000 }, []string{"G5"}},
		"many goroutines":               {func(h *History) { h.Samples[0].Goroutines = 50_000 }, []string{"G5"}},
		"a store beyond its disk":       {func(h *History) { h.Samples[0].StoreBytes = 11 }, []string{"G5"}},
		"a failure without a scheduler": {func(h *History) { h.Pulls[1].Err, h.Pulls[1].Got = "no", "" }, []string{"G2", "G7"}},
		"a failure with one of three schedulers": {func(h *History) {
			h.Faults = append(h.Faults, Fault{Kind: SchedulerStop, Start: at(0), End: at(5)})
			h.Pulls[0].Err, h.Pulls[0].Got = "no", ""
		}, []string{"G2", "G7"}},
		"no pull without a scheduler": {func(h *History) { h.Faults = h.Faults[1:] }, []string{"G7"}},
		"a fault that did not happen": {func(h *History) { h.Faults[0].Err = "no such device" }, []string{"run"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.edit(&h)
			if diff := cmp.Diff(c.want, broken(h)); diff != "" {
				t.Errorf("broken promises (-want +got):\n%s", diff)
			}
			var out bytes.Buffer
			if well := Report(&out, h, Judge(h)); well != (c.want == nil) {
				t.Errorf("the report says %v:\n%s", well, out.String())
			}
		})
	}
}

// A soak is flat, or something has grown.
func TestJudgeSoak(t *testing.T) {
	history := func(rss func(i int) int64, files, goroutines int) History {
		h := good()
		h.Samples, h.Faults, h.Pulls = nil, nil, h.Pulls[:2]
		for i := range 100 {
			f, g := 20, 100
			if i >= 70 {
				f, g = f+files, g+goroutines
			}
			h.Samples = append(h.Samples, Sample{Process: "n1", At: at(float64(i)), RSS: rss(i), Files: f, Goroutines: g, Capacity: 1})
		}
		return h
	}
	steady := func(int) int64 { return 50 << 20 }
	for name, c := range map[string]struct {
		h    History
		well bool
	}{
		"flat":               {history(steady, 3, 10), true},
		"it warms up":        {history(func(i int) int64 { return int64(10+min(i, 15)*3) << 20 }, 0, 0), true},
		"memory leaks":       {history(func(i int) int64 { return int64(50+i) << 20 }, 0, 0), false},
		"files leak":         {history(steady, 40, 0), false},
		"goroutines leak":    {history(steady, 0, 90), false},
		"nothing is sampled": {History{Pulls: good().Pulls, Intrusions: good().Intrusions}, false},
	} {
		var out bytes.Buffer
		if well := Report(&out, c.h, JudgeSoak(c.h)); well != c.well {
			t.Errorf("%s: the report says %v:\n%s", name, well, out.String())
		}
	}
}

// A plan is its seed's: faults in the time of their storm, one of a node at a
// time, and liars only where nothing comes after.
func TestPlan(t *testing.T) {
	const rounds = 40
	plan := Plan(7, 6, rounds)
	if diff := cmp.Diff(plan, Plan(7, 6, rounds)); diff != "" {
		t.Error("the same seed gave another plan")
	}
	if cmp.Equal(plan, Plan(8, 6, rounds)) {
		t.Error("another seed gave the same plan")
	}
	kinds := make(map[Kind]int)
	of := make(map[[2]int]int)
	misread := make(map[int][]int)
	for _, s := range plan {
		kinds[s.Kind]++
		if s.At < 0 || s.At+s.For > stormLength || s.For < shortest {
			t.Errorf("%+v is not in its storm", s)
		}
		if s.Kind == NodeMisread {
			misread[s.Round/apart] = append(misread[s.Round/apart], s.Node)
		}
		if s.Kind == NodeCorrupt && s.Round != rounds-1 {
			t.Errorf("%+v comes too early", s)
		}
		if s.Node >= 0 {
			if of[[2]int{s.Round, s.Node}]++; of[[2]int{s.Round, s.Node}] > 1 {
				t.Errorf("node %d has two faults in round %d", s.Node, s.Round)
			}
		}
	}
	for part, nodes := range misread {
		slices.Sort(nodes)
		if some := slices.Compact(nodes); len(some) > misreadersMost {
			t.Errorf("nodes %v read falsely in the part %d", some, part)
		}
	}
	for _, k := range slices.Concat(nodeFaults, schedulerFaults, schedulersFaults, originFaults, []Kind{NodeCorrupt, NodeMisread}) {
		if kinds[k] == 0 {
			t.Errorf("no %s in %d rounds", k, rounds)
		}
	}
}

// What is recorded is written down, a value a line.
func TestRecorder(t *testing.T) {
	var out bytes.Buffer
	r := newRecorder(&out, 3, began)
	r.add(Pull{Digest: "d"})
	r.add(Fault{Kind: NodeKill})
	r.add(Quiet{Number: 1})
	r.add(Intrusion{As: "nobody"})
	r.add(Sample{Process: "n1"})
	h, err := r.end(at(1))
	if err != nil || len(h.Pulls)+len(h.Faults)+len(h.Quiets)+len(h.Intrusions)+len(h.Samples) != 5 {
		t.Fatalf("%+v, %v", h, err)
	}
	for i, name := range []string{"Pull", "Fault", "Quiet", "Intrusion", "Sample"} {
		if line := strings.Split(out.String(), "\n")[i]; !strings.HasPrefix(line, `{"`+name+`":{`) {
			t.Errorf("line %d is %s", i, line)
		}
	}
}
