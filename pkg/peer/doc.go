// Package peer is one node's engine. It turns "this client wants that blob"
// into bytes: from the store, from neighbours in the blob's swarm, or from
// the origin under a lease.
//
// There is one download a digest, and one goroutine that owns it
// (download.go). The picker (pkg/choice) decides which piece to ask of whom
// and is a pure function of values. Uploads (upload.go) serve what has been
// verified. What the engine needs of the world is declared in needs.go; it
// knows no socket, no file and no registry.
//
// Start reading at Peer.Open.
package peer
