// Package importer takes images out of archives, so that a node can give them
// to its swarm without a registry: what docker save writes, OCI layouts as tar
// or as folder, gzipped or not.
//
// It reads archives and checks that they are whole; where the blobs go is its
// caller's business, who verifies each digest again.
//
// Start reading at Open.
package importer
