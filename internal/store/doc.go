// Package store keeps blobs on disk: whole ones that were verified, and the
// pieces of those still arriving.
//
// Bytes enter through one function, Ingest.Receive, which verifies them.
// Whole blobs appear by rename, after everything they need is on the disk, so
// a crash at any moment leaves a whole blob or an ingest to resume.
//
// It knows nothing of peers, registries and the network. What it implements
// is the contract in pkg/peer/needs.go; storetest holds the suite for that
// contract and a fake in memory.
//
// Start reading at Store, then at Ingest.Receive and Ingest.Commit.
package store
