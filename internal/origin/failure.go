package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/p2pd/p2pd/pkg/peer"
)

const (
	// maxMessage bounds what we repeat of others' words, in bytes: it ends
	// up in a pod's events.
	maxMessage = 300
	// maxErrorBody bounds what we read of them. Connections with more to
	// say are closed.
	maxErrorBody = 64 << 10
	// maxRetryAfter bounds how long a registry may keep us away.
	maxRetryAfter = 10 * time.Minute
)

var (
	errSlowHandshake = errors.New("the registry did not end the handshake in time")
	errSlowEndpoint  = errors.New("the endpoint did not begin an answer")
	errStalled       = errors.New("the origin stopped sending")
)

// refused is an answer that is no success. It is a *peer.OriginError to those
// who only want to know that.
type refused struct {
	peer.OriginError

	body       []byte   // as the registry sent it, if it is JSON
	challenges []string // its WWW-Authenticate headers, as they came
	challenge  Challenge
	unfit      error // why its challenge is not in challenge
}

func (r *refused) Unwrap() error { return &r.OriginError }

// refusal makes one of an answer, and closes it.
func refusal(r *http.Response, byteRange string) *refused {
	defer r.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxErrorBody)) // what can be had will do
	text := message(body, r.StatusCode)
	if r.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		text = fmt.Sprintf("no %s in %q: %s", byteRange, clean(r.Header.Get("Content-Range")), text)
	}
	e := &refused{OriginError: peer.OriginError{Status: r.StatusCode, Message: clean(text)}}
	if asksToWait(r.StatusCode) {
		e.RetryAfter = retryAfter(r.Header.Get("Retry-After"), time.Now())
	}
	if json.Valid(body) {
		e.body = body
	}
	return e
}

// asksToWait reports whether Retry-After means something to us.
func asksToWait(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// message is the first error of an OCI error body, or the body's own text
// unless that is a page.
func message(body []byte, status int) string {
	var oci struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &oci) == nil && len(oci.Errors) > 0 {
		return clean(oci.Errors[0].Code + ": " + oci.Errors[0].Message)
	}
	if s := clean(string(body)); s != "" && !strings.HasPrefix(s, "<") {
		return s
	}
	return statusText(status)
}

func statusText(status int) string {
	if s := http.StatusText(status); s != "" {
		return s
	}
	return "no reason given"
}

// quiet is an error whose text has lost the secrets that URLs and answers of
// token servers carry. It still is the error that it wraps.
type quiet struct{ err error }

func (q *quiet) Error() string { return hush(q.err.Error()) }
func (q *quiet) Unwrap() error { return q.err }

var (
	// query is the rest of a URL from its question mark; in errors of
	// net/http URLs are quoted.
	query = regexp.MustCompile(`\?(\\.|[^"\\])*`)
	// userInfo is a URL's user and password.
	userInfo = regexp.MustCompile(`//[^/"\s]*@`)
)

// hush cuts queries and users out of the URLs in s. What follows a line's end
// goes too: there is no telling what is quoted there.
func hush(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return clean(query.ReplaceAllString(userInfo.ReplaceAllString(s, "//"), ""))
}

// clean makes words of others fit for a line of a log and for a header:
// printable, and at most maxMessage bytes.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) <= maxMessage {
		return s
	}
	const more = "…"
	cut := maxMessage - len(more)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// retryAfter reads the header's two forms: seconds, or a date (RFC 9110
// §10.2.3). What is neither counts as absent. The result is never negative
// nor above maxRetryAfter.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		s, err := strconv.ParseInt(v, 10, 64)
		if err != nil || s > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter // more digits than a number has, too
		}
		return time.Duration(s) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}
