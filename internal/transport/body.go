package transport

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/throttle"
)

const (
	// bulkBuffer is the unit of copying: larger saves no more CPU.
	bulkBuffer = 256 << 10
	// sendStep is how much sendfile moves under one deadline.
	sendStep = 1 << 20
	// stallTimeout is how long bulkBuffer or sendStep bytes may take. A
	// child that is slower, some 100 KiB/s, gives its slot to others.
	stallTimeout = 10 * time.Second
)

// response is one answer, with a deadline that moves with its progress, so
// that a dead child does not hold an upload slot.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// extend gives the child until stall for what is written next.
func (w *response) extend() {
	w.control.SetWriteDeadline(time.Now().Add(w.stall))
}

// limits are those that hold for what goes to the child of r.
func (s *server) limits(r *http.Request) []*throttle.Limit {
	if s.cfg.far(r.Header.Get(zoneHeader)) {
		return []*throttle.Limit{s.cfg.Upload, s.cfg.FarUpload}
	}
	return []*throttle.Limit{s.cfg.Upload}
}

// send copies r to the child under limits and counts the bytes. (A limit that
// comes later holds from the next piece on where the file is sent by the
// kernel.)
func (s *server) send(ctx context.Context, w *response, r io.Reader, limits []*throttle.Limit) (int64, error) {
	if part, ok := r.(*io.LimitedReader); ok && s.cfg.ClearBulk && !throttle.Limited(limits...) {
		return sendFile(w, part)
	}
	buf := s.buffers.Get().(*[bulkBuffer]byte)
	defer s.buffers.Put(buf)
	r = throttle.Reader(ctx, r, limits...)
	var sent int64
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			w.extend()
			m, werr := w.Write(buf[:n])
			sent += int64(m)
			if werr != nil {
				return sent, werr
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}

// sendFile copies part in steps that net/http hands to sendfile if part is
// of a file: that needs the very LimitedReader over the *os.File, so part is
// taken apart rather than wrapped.
func sendFile(w *response, part *io.LimitedReader) (int64, error) {
	var sent int64
	for part.N > 0 {
		w.extend()
		step := &io.LimitedReader{R: part.R, N: min(part.N, sendStep)}
		n, err := w.ResponseWriter.(io.ReaderFrom).ReadFrom(step)
		sent += n
		part.N -= n
		if err != nil {
			return sent, err
		}
		if n == 0 {
			break
		}
	}
	return sent, nil
}
