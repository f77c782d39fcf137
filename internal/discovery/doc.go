// Package discovery finds peers without a scheduler: a private Kademlia table
// (go-libp2p-kad-dht) on the transport's own host, so that whoever may not
// connect there may not take part here. It holds nothing but who has announced
// what, each record for a quarter of an hour.
//
// It knows digests as keys and never sees content. What it names are hints: who
// is found may be gone, and proves what it sends as any other peer.
//
// Start reading at Discovery; card.go is what peers tell of themselves beyond
// an address, known.go who is remembered over a restart, bootstrap.go how the
// first others are found.
package discovery
