package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/p2pd/p2pd/pkg/peer"
)

const (
	// maxMessage bounds what we repeat of a registry's words.
	maxMessage = 300
	// maxErrorBody bounds what we read of them.
	maxErrorBody = 16 << 10
	// maxRetryAfter bounds how long a registry may keep us away.
	maxRetryAfter = 10 * time.Minute
)

// refusal turns an answer that is no success into an error, and closes it.
func refusal(r *http.Response) error {
	defer r.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxErrorBody)) // what can be had will do
	return &peer.OriginError{
		Status: r.StatusCode, RetryAfter: retryAfter(r.Header.Get("Retry-After"), time.Now()),
		Message: message(body, r.StatusCode),
	}
}

// refusalOf finds the registry's own answer in an error of the handshake.
func refusalOf(err error) error {
	var t *transport.Error
	if !errors.As(err, &t) {
		return err
	}
	parts := make([]string, 0, len(t.Errors))
	for _, d := range t.Errors {
		parts = append(parts, fmt.Sprintf("%s: %s", d.Code, d.Message))
	}
	text := strings.Join(parts, "; ")
	if text == "" {
		text = http.StatusText(t.StatusCode)
	}
	return &peer.OriginError{Status: t.StatusCode, Message: clean(text)}
}

// message is the first error of an OCI error body, or the body's own text.
func message(body []byte, code int) string {
	var oci struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &oci) == nil && len(oci.Errors) > 0 {
		return clean(oci.Errors[0].Code + ": " + oci.Errors[0].Message)
	}
	if s := clean(string(body)); s != "" && !strings.HasPrefix(s, "<") {
		return s
	}
	return http.StatusText(code)
}

// clean makes a registry's words fit for a log line and a header.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// retryAfter reads the header's two forms: seconds, or a date (RFC 9110
// §10.2.3). What is neither counts as absent.
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		if s < 0 {
			return 0
		}
		return min(time.Duration(min(s, int64(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
