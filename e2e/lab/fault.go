package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/throttle"
)

// Forever is longer than anybody waits.
const Forever = 24 * time.Hour

// Fault is what a FaultProxy does to GETs of blobs. What its fields say holds
// together; the zero Fault changes nothing.
type Fault struct {
	// OnlyP2PD spares every other client.
	OnlyP2PD bool
	// Manifests meet it too, by digest and by tag.
	Manifests bool
	// Spare is how many requests of a client at one path are spared first.
	Spare int
	// Times is how often a client meets it at one path then; 0: always.
	Times int

	// Wait is how long the answer takes to begin.
	Wait time.Duration
	// Status is answered instead of content.
	Status int
	// RetryAfter goes with Status, in whole seconds.
	RetryAfter time.Duration
	// NoRange is a registry that knows none: every answer is the whole.
	NoRange bool
	// CutAfter ends the connection after so many bytes of a body.
	CutAfter int64
	// StallAfter sends nothing more after so many bytes of a body.
	StallAfter int64
	// Rate is of each answer.
	Rate Rate
}

// hits reports whether a request is one of those that meet the fault.
func (f Fault) hits(r *http.Request, kind Kind) bool {
	if f == (Fault{}) || f.OnlyP2PD && !isP2PD(r) {
		return false
	}
	return kind == BlobGet || f.Manifests && kind != Other
}

// refuse answers with the status, and an error as registries word it.
func (f Fault) refuse(w http.ResponseWriter) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(f.RetryAfter.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	code := "UNKNOWN"
	if f.Status == http.StatusTooManyRequests {
		code = "TOOMANYREQUESTS"
	}
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`+"\n", code, FaultMessage) // the client may have gone
}

// FaultMessage is what an origin's refusal says, to be found in errors.
const FaultMessage = "the lab's origin refuses"

// body is the body as the fault lets it pass. What w has is sent before it
// stalls or ends.
func (f Fault) body(ctx context.Context, w http.ResponseWriter, r io.Reader) io.Reader {
	if f.Rate > 0 {
		r = throttle.Reader(ctx, r, throttle.New(int64(f.Rate.BytesPerSecond())))
	}
	switch {
	case f.CutAfter > 0:
		return &cutting{Reader: r, left: f.CutAfter, then: func() error { return flushed(w, errCut) }}
	case f.StallAfter > 0:
		return &cutting{Reader: r, left: f.StallAfter, then: func() error {
			err := flushed(w, errCut)
			<-ctx.Done()
			return err
		}}
	}
	return r
}

var errCut = errors.New("cut by the fault")

// flushed sends what w has written; the result is err, whatever comes of it.
func flushed(w http.ResponseWriter, err error) error {
	_ = http.NewResponseController(w).Flush() // the client may have gone
	return err
}

// cutting reads so many bytes, and then what happens then happens, unless that
// was the end anyway.
type cutting struct {
	io.Reader
	left int64
	then func() error
}

func (c *cutting) Read(p []byte) (int, error) {
	if c.left == 0 {
		var one [1]byte
		if _, err := io.ReadFull(c.Reader, one[:]); err != nil {
			return 0, err
		}
		return 0, c.then()
	}
	n, err := c.Reader.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
