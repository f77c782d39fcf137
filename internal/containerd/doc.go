// Package containerd lets a peer serve what the node's containerd holds, from
// containerd's own files and without a second copy.
//
// containerd's events say that something changed and its list says what there
// is now. A blob is hashed whole before anybody is told of it. From then on it
// is opened by its digest, and served as long as its file is the one that was
// hashed. Nothing here writes to containerd, takes a lease or keeps its garbage
// collector from anything: a file that is gone is no longer offered, and who
// reads it at that moment reads it to its end.
//
// The package knows nothing of the swarm but that blobs can be offered to it
// and withdrawn, and nothing of our own store but that copies there may be
// given up first. Images are not its business either: a blob is a blob,
// whether layer, config or manifest.
//
// Start reading at Content, then at Content.Run and Store.
package containerd
