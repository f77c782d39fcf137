// Package transport carries what peers say and send to each other. It
// implements peer.Network and drives a peer.Handler.
//
// A peer has one Ed25519 identity and two faces:
//
//   - The HAVE links (link.go, inbound.go) run over a libp2p host: TCP, TLS
//     and yamux. A pair of neighbours shares two one-way streams, one each
//     way, for all its blobs. Their frames are in frame.go.
//   - Bulk pieces (serve.go, fetch.go) run over HTTP/1.1 on TLS 1.3 with the
//     same identity, because that costs half the CPU of libp2p streams.
//
// The package proves who is at the other end and bounds what everybody may
// use. It does not know what a blob is for, which pieces to ask of whom, or
// whether bytes are right: that is pkg/peer and the store.
//
// Start reading at Transport.
package transport
