package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Error codes of the distribution specification. The last three are not in
// its list, which has no word for them; the reference registry uses them.
const (
	codeBlobUnknown     = "BLOB_UNKNOWN"
	codeDigestInvalid   = "DIGEST_INVALID"
	codeManifestUnknown = "MANIFEST_UNKNOWN"
	codeNameInvalid     = "NAME_INVALID"
	codeNameUnknown     = "NAME_UNKNOWN"
	codeUnsupported     = "UNSUPPORTED"
	codeRangeInvalid    = "RANGE_INVALID"
	codeUnavailable     = "UNAVAILABLE"
	codeUnknown         = "UNKNOWN"
)

// maxMessage bounds what an error body says, in bytes: it may quote the
// origin, and ends up in a pod's events.
const maxMessage = 1 << 10

// failure is an answer that is no content. Its message is for whoever reads
// why the pull failed: containerd shows the first host's error, and that is
// this mirror's.
type failure struct {
	status  int
	code    string
	message string
}

func (f *failure) Error() string { return f.message }

func fail(status int, code, format string, args ...any) *failure {
	return &failure{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// failureOf turns what went wrong on the way to content into an answer.
// What the origin refuses looks like absence here, and containerd goes on to
// the origin itself, with credentials that the mirror does not have. What
// the mirror or the origin could not do now is 503.
func failureOf(k Kind, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return &failure{status: f.status, code: f.code, message: err.Error()}
	}
	f := &failure{status: http.StatusServiceUnavailable, code: codeUnavailable, message: err.Error()}
	origin, refused := errors.AsType[*peer.OriginError](err)
	switch {
	case refused && isRefusal(origin.Status):
		f.status, f.code = http.StatusNotFound, unknown(k)
	case refused:
	case errors.Is(err, ErrUnknownRegistry):
		f.status, f.code = http.StatusNotFound, codeNameUnknown
	case errors.Is(err, piece.ErrUnsupportedDigest):
		f.status, f.code = http.StatusNotFound, codeUnsupported
	case errors.Is(err, peer.ErrNotHeld):
		f.status, f.code = http.StatusNotFound, unknown(k)
	case errors.Is(err, context.DeadlineExceeded):
		f.message = "nothing arrived in time: " + f.message
	}
	return f
}

// isRefusal reports whether asking the origin again now would end the same.
func isRefusal(status int) bool {
	return status >= 400 && status < 500 &&
		status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// unknown is the code that says that there is no such content.
func unknown(k Kind) string {
	if k == Blob {
		return codeBlobUnknown
	}
	return codeManifestUnknown
}

// body is the answer as the distribution specification has it.
func (f *failure) body() []byte {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail"`
	}
	message := f.message
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	body, err := json.Marshal(map[string][]entry{
		"errors": {{Code: f.code, Message: strings.ToValidUTF8(message, "")}},
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	return body
}
