// Package rpc carries the scheduler's events and decisions over gRPC: one
// bidirectional stream between a peer and a scheduler for all blobs. It is the
// only package that sees generated code. The server is the shell around the pure
// scheduler: it gives it a clock, one goroutine and the streams, and where a
// Guard is set it lets members in only. A Client keeps one stream up; a Fleet has
// a client for each scheduler and looks like one to the peer's engine.
//
// Start reading at Server.Run, Fleet.Run and Guard.pass.
package rpc
