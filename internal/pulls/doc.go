// Package pulls finds out how long pulls of images take, out of the requests
// that a client makes for one: the manifest, and then those blobs of it that the
// client does not have yet. Nothing in the requests says which belong together,
// nor which is the last one, so they are grouped here by what the manifest
// lists. Time is told to it, and it decides alone: it does no I/O, and knows
// neither HTTP nor peers.
//
// Start reading at Tracker; coverage.go is what of a blob was sent.
package pulls
