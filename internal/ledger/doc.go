// Package ledger is what has happened on nodes, told to schedulers for people
// who look: pulls of images that have ended, what clients were refused, bytes
// that were false, and the results of p2pctl check. A Reporter gathers it on a
// node and tells little at a time; a Ledger keeps a bounded part of what all
// nodes told, at a scheduler, for a day at most. Nothing is decided by it. It
// does no I/O, and knows neither gRPC nor HTTP.
//
// Start reading at Report, then Reporter.Run and Ledger.Take.
package ledger
