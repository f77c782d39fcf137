package access

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// RefusedError is the origin's no to a question, as a client may be told it.
type RefusedError struct {
	// Status is the origin's: 400..499, and none that asks to wait.
	Status int
	// Challenge is the WWW-Authenticate header to send with it; empty for
	// none.
	Challenge string
	// Body is the origin's, JSON of at most maxBody bytes; it may be empty.
	Body []byte
	// Reason says it in words that are fit for a log.
	Reason string
}

// maxBody bounds what is kept and passed on of a refusal's body, in bytes. A
// longer one is left out: a part would say nothing.
const maxBody = 4 << 10

func (r *RefusedError) Error() string {
	if r.Reason != "" {
		return fmt.Sprintf("the registry refuses with status %d: %s", r.Status, r.Reason)
	}
	return fmt.Sprintf("the registry refuses with status %d", r.Status)
}

// isRefusal reports whether a status is the origin's judgement on the
// question, and not on how busy or broken it is.
func isRefusal(status int) bool {
	return status >= 400 && status < 500 &&
		status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// ErrUnavailable is returned where the origin could not be asked, and what it
// said before does not do.
var ErrUnavailable = errors.New("the registry cannot be asked whether this client may have it")

// BusyError is an origin that wants to be left alone for a while.
type BusyError struct {
	RetryAfter time.Duration // 0 if it did not say
	Err        error
}

func (e *BusyError) Error() string { return e.Err.Error() }
func (e *BusyError) Unwrap() error { return e.Err }
