// Package choice is what a peer of a swarm decides for itself, as plain
// values: which piece to ask for next (Picker), how many at a time (MayFetch,
// Pace), which child to serve next (Slots), and when to report (Interval). There is no clock, lock, socket or goroutine in it: the engine in
// pkg/peer and the simulator in pkg/scheduler/sim run the very same code.
package choice
