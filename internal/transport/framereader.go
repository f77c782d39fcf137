package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/p2pd/p2pd/pkg/peer"
)

const (
	// readBuffer holds a burst of several hundred Haves of one piece.
	readBuffer = 16 << 10
	// keepBuffer is the largest frame buffer that a link keeps between
	// frames, and the step in which it grows for a larger frame.
	keepBuffer = 64 << 10
)

// frameReader reads frames from one stream.
type frameReader struct {
	r   *bufio.Reader
	buf []byte
	// reserve asks for memory for a frame that is larger than what is kept;
	// the function that it returns gives it back.
	reserve func(n int) (release func(), err error)
	// begun is called between the length of a frame and the rest of it,
	// which should follow soon.
	begun func()
}

// next reads one message and the size of its frame. The end of the stream
// between two frames is io.EOF.
func (f *frameReader) next() (peer.Message, int, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, 0, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > maxFrame {
		return nil, 0, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	f.begun()
	if n > keepBuffer {
		release, err := f.reserve(n)
		if err != nil {
			return nil, 0, fmt.Errorf("no memory for a frame of %d bytes: %w", n, err)
		}
		defer release()
		defer func() { f.buf = nil }()
	}
	if err := f.fill(n); err != nil {
		return nil, 0, err
	}
	m, err := parseFrame(f.buf)
	return m, frameHeader + n, err
}

// fill reads n bytes into buf. The buffer grows as they arrive, because the
// length is only what the sender says.
func (f *frameReader) fill(n int) error {
	f.buf = f.buf[:0]
	for len(f.buf) < n {
		at := len(f.buf)
		step := min(n-at, keepBuffer)
		f.buf = append(f.buf, make([]byte, step)...)
		if _, err := io.ReadFull(f.r, f.buf[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
