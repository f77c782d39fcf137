package peer

import "io"

// Upload is the content that one child gets. Reader is limited to the bytes
// asked for; on a disk store it is an *io.LimitedReader over an *os.File, so
// that copying it to a TCP connection uses sendfile.
type Upload struct {
	Reader io.Reader
	close  func()
}

// NewUpload is an upload of what r yields; release gives its slot back. For
// a Handler that is not a *Peer.
func NewUpload(r io.Reader, release func()) *Upload { return &Upload{Reader: r, close: release} }

// Close gives the slot back.
func (u *Upload) Close() { u.close() }
