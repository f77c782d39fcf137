// Package preheat brings images to nodes before anybody pulls them. On a
// scheduler, a Desk takes jobs, finds out what an image is made of, chooses nodes,
// and has their peers fetch it; on a node, an Agent does as it is asked and reports.
// Bytes go the way of all downloads (pkg/peer): a swarm, leases, verification.
//
// A job is told to all schedulers, and nodes report to all of them, so that any
// answers for any job. One drives it: whoever took it, or else who owns its number
// among those that are up (scheduler.Owner). What a job reads with is in the memory
// of the scheduler that took it and of the nodes, and goes nowhere else: a job that
// loses its scheduler before all nodes were told fails on those, and says so.
//
// A preheat grants nobody anything: who pulls what it brought must have a right of
// their own (internal/access).
//
// It knows no HTTP, no gRPC and no disk: needs.go has what it asks of them. Table is
// a value that time and events are told; Desk and Agent are the shells.
//
// Start reading at Job, then Table, Desk.Run and Agent.Run.
package preheat
