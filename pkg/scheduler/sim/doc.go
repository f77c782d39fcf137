// Package sim is a discrete-event simulator of thousands of peers that pull
// one image at once. It drives the scheduler's very code (scheduler.Step) and
// the peers' very choices (pkg/choice) with a virtual clock, so that what is
// tuned here is what runs. Equal configurations give equal results.
//
// What it models: links by their rate, shared fairly by the transfers on them
// (link.go); racks, zones and their oversubscribed uplinks; an origin with a
// rate and a cap for each connection; the way of messages; clients that take
// three layers at a time; peers that are slow, die, or come late. What it does
// not: CPU, disks, TCP's moods, false bytes. The engine's handling of rare
// faults is reduced to what shows in the time of a pull.
//
// Start reading at Run, then download.go, which mirrors pkg/peer's.
package sim
