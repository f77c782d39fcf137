// Package scheduler is the brain that introduces peers to each other and
// leases the origin to them. It is pure: Step takes the time and an event and
// returns decisions. There is no clock, socket, goroutine, context or logger
// in it, so that a test, the gRPC shell in internal/rpc and a simulator drive
// the very same code.
//
// It never sees a byte of content. Its answers are hints: whoever follows
// them still verifies every piece.
//
// Start reading at Scheduler.Step, then swarm.go.
package scheduler
