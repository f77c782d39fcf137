package faults

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The faults. What each does is in stage.go.
const (
	NodeKill       Kind = "node-kill"       // kill -9, later started again over the same store
	NodeRot        Kind = "node-rot"        // the same, and bytes of its store are changed meanwhile
	NodeRestart    Kind = "node-restart"    // SIGTERM, started again at once
	NodeFreeze     Kind = "node-freeze"     // SIGSTOP, later SIGCONT
	NodeCut        Kind = "node-cut"        // its link is down
	NodeDrop       Kind = "node-drop"       // other nodes' packets to it vanish, and its answers
	NodeReject     Kind = "node-reject"     // it is told that there is no way to other nodes
	NodeSlow       Kind = "node-slow"       // its link has a fiftieth of the rate
	NodeCorrupt    Kind = "node-corrupt"    // it sends its neighbours false bytes
	NodeMisread    Kind = "node-misread"    // it reads false bytes from the registry, and does not know
	NodeFull       Kind = "node-full"       // something else fills its disk, and goes on as its store gives way
	NodeLossy      Kind = "node-lossy"      // some of its packets are lost, in either direction
	NodeLate       Kind = "node-late"       // its link is slower, and packets wait long in its queues
	NodeEIO        Kind = "node-eio"        // its disk answers EIO to its store
	NodeClock      Kind = "node-clock"      // its wall clock steps, and back
	SchedulerKill  Kind = "scheduler-kill"  // kill -9 of one, later started again
	SchedulerStop  Kind = "scheduler-stop"  // SIGSTOP of one, later SIGCONT
	SchedulerCut   Kind = "scheduler-cut"   // nobody reaches one
	SchedulerClock Kind = "scheduler-clock" // the wall clock of one steps, and back
	SchedulersKill Kind = "schedulers-kill" // the same of all at a time
	SchedulersStop Kind = "schedulers-stop"
	SchedulersCut  Kind = "schedulers-cut"  // their link is down
	OriginErrors   Kind = "origin-errors"   // 500 to everything
	OriginBusy     Kind = "origin-busy"     // 429 with Retry-After
	OriginSlow     Kind = "origin-slow"     // a trickle
	OriginCutsBody Kind = "origin-cuts"     // bodies end early
	OriginStalls   Kind = "origin-stalls"   // bodies stop
	OriginGone     Kind = "origin-gone"     // its link is down
	OriginLate     Kind = "origin-late"     // answers begin late
	everyScheduler Kind = "scheduler-ended" // the last period's: no scheduler at all
)

var (
	nodeFaults = []Kind{
		NodeKill, NodeRot, NodeRestart, NodeFreeze, NodeCut, NodeDrop, NodeReject, NodeSlow, NodeFull,
		NodeLossy, NodeLate, NodeEIO, NodeClock,
	}
	// schedulerFaults are of one of several, or of the only one.
	schedulerFaults = []Kind{SchedulerKill, SchedulerStop, SchedulerCut, SchedulerClock}
	// schedulersFaults are of all at a time.
	schedulersFaults = []Kind{SchedulersKill, SchedulersStop, SchedulersCut}
	// steps are by how much a wall clock is set forward or back: within what clocks may
	// differ by, beyond it, and beyond a credential's life.
	steps        = []time.Duration{5 * time.Minute, 2 * time.Hour, 8 * 24 * time.Hour}
	originFaults = []Kind{OriginErrors, OriginBusy, OriginSlow, OriginCutsBody, OriginStalls, OriginGone, OriginLate}
)

const (
	// stormLength is how long faults may be in force, one after the other or
	// together; a round is a storm and the quiet after it.
	stormLength = 18 * time.Second
	roundLength = 35 * time.Second
	// shortest and longest are for one fault. The longest is more than any
	// time-out between the parts.
	shortest, longest = 2 * time.Second, 9 * time.Second
	// stormFaults is how many there are of nodes in a storm.
	stormFaults = 4
	// misreadersMost is how many nodes read falsely within apart rounds: they are put
	// out for minutes, and the others must be enough to show anything.
	misreadersMost = 2
	apart          = int(shunned / roundLength)
)

// Step is one fault of a plan.
type Step struct {
	Round int
	Kind  Kind
	Node  int           // -1 if it is no node's
	At    time.Duration // since the round's beginning
	For   time.Duration
	Seed  uint64 // of what else there is to choose
}

// Plan draws the faults of a run. The same seed gives the same plan. In every
// round there are faults of several nodes, of each one at a time, and mostly one
// of one scheduler or all, and one of the origin. In some another node reads falsely. Liars
// come in the last round, for the others keep away from them for minutes.
func Plan(seed uint64, nodes, rounds int) []Step {
	rng := rand.New(rand.NewPCG(seed, 0x6661756c7473))
	misreads := rand.New(rand.NewPCG(seed, 0x6d697372656164)) // the other faults are as they were before there was this one
	misread := make(map[int]int)                              // node to round
	var plan []Step
	for round := range rounds {
		perm := rng.Perm(nodes)
		for _, node := range perm[:min(stormFaults, nodes-1)] {
			kind := pick(rng, nodeFaults)
			plan = append(plan, draw(rng, round, kind, node))
		}
		if rng.IntN(3) > 0 {
			plan = append(plan, draw(rng, round, pick(rng, append(slices.Clone(schedulerFaults), schedulersFaults...)), -1))
		}
		if rng.IntN(3) > 0 {
			plan = append(plan, draw(rng, round, pick(rng, originFaults), -1))
		}
		if last := perm[nodes-1]; round < rounds-1 && misreads.IntN(2) == 0 && mayMisread(misread, last, round) {
			misread[last] = round
			plan = append(plan, draw(misreads, round, NodeMisread, last))
		}
		if round == rounds-1 {
			// For as long as there is load, so that somebody meets it.
			plan = append(plan, Step{Round: round, Kind: NodeCorrupt, Node: perm[nodes-1], At: 0, For: stormLength, Seed: rng.Uint64()})
		}
	}
	slices.SortStableFunc(plan, func(a, b Step) int {
		return int(time.Duration(a.Round-b.Round)*roundLength + a.At - b.At)
	})
	return plan
}

// mayMisread reports whether a node may read falsely, by who did when.
func mayMisread(when map[int]int, node, round int) bool {
	others := 0
	for n, r := range when {
		if n != node && round-r <= apart {
			others++
		}
	}
	return others < misreadersMost
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func draw(rng *rand.Rand, round int, kind Kind, node int) Step {
	length := shortest + time.Duration(rng.Int64N(int64(longest-shortest)))
	at := time.Duration(rng.Int64N(int64(stormLength - length)))
	return Step{Round: round, Kind: kind, Node: node, At: at, For: length, Seed: rng.Uint64()}
}
