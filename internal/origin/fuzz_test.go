package origin

import (
	"io"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What a Content-Range says is not empty and lies within its blob, and what
// passes the check lies within the question.
func FuzzContentRange(f *testing.F) {
	for _, v := range []string{
		"bytes 0-0/1", "bytes 10-29/100", "bytes 10-29/*", "bytes */100", "bytes 29-10/100", "bytes 0-999999999999999999/*",
		"bytes 0-9/9", "bytes  0-9/10", "BYTES 0-9/10", "bytes 0-9/10, bytes 0-9/10", "bytes -1-9/10", "bytes 0-9/10\n",
		"bytes 0-9223372036854775807/*", "items 0-1/2", "",
	} {
		f.Add(v, int64(10), int64(20), int64(-1))
	}
	f.Fuzz(func(t *testing.T, v string, off, n, contentLength int64) {
		s, err := parseContentRange(v)
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("%q", err)
			}
			return
		}
		if s.off < 0 || s.length <= 0 || s.off+s.length <= 0 || s.size != scheduler.SizeUnknown && s.off+s.length > s.size {
			t.Fatalf("%q is %+v", v, s)
		}
		if s.check(off, n, contentLength) == nil && (s.off != off || n >= 0 && s.length > n || contentLength >= 0 && contentLength != s.length) {
			t.Fatalf("%+v answers [%d, +%d) with Content-Length %d", s, off, n, contentLength)
		}
	})
}

// No registry keeps us away for ever, nor for less than no time.
func FuzzRetryAfter(f *testing.F) {
	for _, v := range []string{"", "0", "120", "-5", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "1e9", "soon"} {
		f.Add(v)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, v string) {
		if d := retryAfter(v, now); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q is %v", v, d)
		}
	})
}

// A host that passes is all of a URL's authority, for the standard library
// and for go-containerregistry; one that is public is no address.
func FuzzHost(f *testing.F) {
	for _, h := range []string{
		"docker.io", "registry.example:5000", "[::1]:80", "127.1", "0x7f.1", "a@b.c", "a.b/c", "a.b:0", "a%2eb", "a.b?c", "[fe80::1%25x]", "x.LOCALHOST", "a\\b", "",
	} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) {
		if checkHost(h) != nil {
			return
		}
		u, err := url.Parse("https://" + h + "/v2/")
		if err != nil || u.Host != h || u.User != nil || u.Path != "/v2/" || u.RawQuery != "" {
			t.Fatalf("%q: %+v, %v", h, u, err)
		}
		if _, err := name.NewRegistry(h, name.StrictValidation); err != nil {
			t.Fatal(err)
		}
		if checkPublic(h) != nil {
			return
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil || strings.HasSuffix(strings.ToLower(u.Hostname()), "localhost") && !strings.Contains(u.Hostname(), ".") {
			t.Fatalf("%q is public", h)
		}
	})
}

// What others say comes out printable and short, and the query of a URL not
// at all, whatever is in it.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "BLOB_UNKNOWN: x", "a\x1b[31m\u202e", "\xe5", "\" \\\"\n?", strings.Repeat("€", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if len(got) > maxMessage || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) || clean(got) != got {
			t.Fatalf("%q is %q", s, got)
		}
		err := &url.Error{Op: "Get", URL: "https://h.example/a?x=SECRET" + s + "SECRET", Err: io.EOF}
		if got := hush(err.Error()); got != `Get "https://h.example/a": EOF` {
			t.Fatalf("%q is told as %q", err, got)
		}
	})
}
