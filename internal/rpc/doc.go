// Package rpc carries the scheduler's events and decisions over gRPC: one
// bidirectional stream a peer for all its blobs. It is the only package that
// sees generated code. The server is the shell around the pure scheduler: it
// gives it a clock, one goroutine and the streams.
//
// Start reading at Server.Run and Client.Run.
package rpc
