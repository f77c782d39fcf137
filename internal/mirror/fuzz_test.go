package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Whatever a path is read as, putting the parts together gives the path.
func FuzzParsePath(f *testing.F) {
	d := piece.Sum(nil).String()
	for _, seed := range []string{
		"", "/", "/v2", "/v2/", "/v2//", "/v2/a/manifests/latest", "/v2/a/b-c__d.e/blobs/" + d,
		"/v2/manifests/manifests/manifests", "/v2/blobs/blobs/" + d, "/v2/a/manifests/" + d,
		"/v2/a/../b/manifests/1", "/v2/a/blobs/sha512:00", "/v2/a/tags/list", "/v2/a/blobs/uploads/",
		"/v2/a\x00/manifests/1", "/v2/a/manifests/1/", "/v2/A/blobs/" + d,
		"/v2/quay.io/a/manifests/1", "/v2/localhost/a/blobs/" + d, "/v2/127.0.0.1:5000/a/b/manifests/" + d,
		"/v2/[::1]:5000/a/manifests/1", "/v2/quay.io/manifests/1", "/v2/u@quay.io/a/manifests/1", "/v2/quay.io:0/a/manifests/1",
		"/v2/quay.io//a/manifests/1", "/v2/quay.io/../a/manifests/1", "/v2/Quay.IO/a/manifests/1", "/v2/a_b.c/d/manifests/1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, bad := parsePath(path)
		if bad != nil {
			if bad.status < 400 || bad.status > 499 || bad.code == "" || !json.Valid(bad.body()) {
				t.Fatalf("failure %+v", bad)
			}
			return
		}
		var again string
		switch got.kind {
		case Base:
			again = strings.TrimSuffix(path, "/")
			if again != "/v2" {
				t.Fatalf("%q is read as the base", path)
			}
			return
		case Tag:
			again = "/v2/" + got.name + "/manifests/" + got.tag
		case Manifest:
			again = "/v2/" + got.name + "/manifests/" + got.digest.String()
		case Blob:
			again = "/v2/" + got.name + "/blobs/" + got.digest.String()
		default:
			t.Fatalf("%q is read as %v", path, got.kind)
		}
		if again != path {
			t.Fatalf("%q is read as %q", path, again)
		}
		for component := range strings.SplitSeq(got.name, "/") {
			if component == "" || component == "." || component == ".." {
				t.Fatalf("name %q passed", got.name)
			}
		}
		switch {
		case got.prefix == "" && !isName(got.name):
			t.Fatalf("name %q passed", got.name)
		case got.prefix == "":
		case !isName(got.inner) || !strings.EqualFold(got.prefix+"/"+got.inner, got.name) &&
			!strings.EqualFold(strings.Replace(got.prefix, ":", "_", 1)+"/"+got.inner, got.name):
			t.Fatalf("name %q is read as %q at %q", got.name, got.inner, got.prefix)
		case !strings.ContainsAny(got.prefix, ".:") && got.prefix != "localhost":
			t.Fatalf("%q was taken for a registry", got.prefix)
		}
	})
}

// wellFormed are the headers on which RFC 9110 and net/http agree, but for a
// suffix of no bytes or of an empty blob, which net/http answers with a range
// that ends before it begins.
var wellFormed = regexp.MustCompile(`^bytes=([0-9]{1,18}-[0-9]{0,18}|-0*[1-9][0-9]{0,16})$`)

// Single ranges are answered as net/http answers them; and nothing that
// net/http refuses as malformed is taken for a range.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{
		"", "bytes=0-", "bytes=5-9", "bytes=-3", "bytes=-0", "bytes=10-", "bytes=9-5", "bytes=0-0,2-3",
		"bytes=99999999999999999999-", "bytes=+1-", "bytes=1 - 2", "Bytes=1-2", "items=1-2", "bytes=--1", "bytes=",
	} {
		f.Add(seed, uint16(10))
		f.Add(seed, uint16(0))
	}
	f.Fuzz(func(t *testing.T, header string, length uint16) {
		size := int64(length)
		got, answer := parseRange([]string{header}, size)
		if got.off < 0 || got.n < 0 || got.off+got.n > size || (answer == partial && got.n == 0) {
			t.Fatalf("%q of %d is %+v", header, size, got)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Range"] = []string{header}
		w := httptest.NewRecorder()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, size)))
		theirs := w.Result()
		io.Copy(io.Discard, theirs.Body) //nolint:errcheck // from memory

		status, contentRange := http.StatusOK, ""
		switch answer {
		case partial:
			status, contentRange = http.StatusPartialContent, got.contentRange(size)
		case unsatisfiable:
			status, contentRange = http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("bytes */%d", size)
		}
		same := status == theirs.StatusCode && contentRange == theirs.Header.Get("Content-Range")
		suffixOfNothing := size == 0 && strings.HasPrefix(header, "bytes=-")
		if wellFormed.MatchString(header) && !malformed(header) && !suffixOfNothing && !same {
			t.Fatalf("%q of %d is answered %d %q, by net/http %d %q", header, size,
				status, contentRange, theirs.StatusCode, theirs.Header.Get("Content-Range"))
		}
		if answer == partial && strings.HasPrefix(header, "bytes=") && !same && !tooLong.MatchString(header) {
			t.Fatalf("%q of %d is taken as %q, by net/http as %d", header, size, contentRange, theirs.StatusCode)
		}
	})
}

// tooLong are numbers that net/http cannot read and RFC 9110 allows.
var tooLong = regexp.MustCompile(`[0-9]{19}`)

// malformed reports whether a well-formed pair of numbers runs backwards,
// which net/http refuses and the mirror ignores.
func malformed(header string) bool {
	var a, b int64
	n, _ := fmt.Sscanf(header, "bytes=%d-%d", &a, &b)
	return n == 2 && a >= 0 && b < a
}

// A host that passes is one and nothing else when it is put into a URL.
func FuzzRegistryHost(f *testing.F) {
	for _, seed := range []string{
		"", "ns=docker.io", "ns=docker.io&ns=docker.io", "ns=a.test%3A5000", "ns=A.Test", "ns=u%40a.test",
		"ns=a.test/x", "ns=a.test%2Fx", "ns=a.test%00", "ns=[::1]:5000", "ns=%5Bfe80::1%25eth0%5D", "ns=a..b",
		"ns=a.test:0", "ns=a.test:65536", "ns=a.test:+1", "ns=a.test:", "ns=127.0.0.1", "ns=-a", "ns=a.test.", "ns=http://a.test",
		"ns=%", "x=1;ns=a", "ns=" + strings.Repeat("a.", 200) + "a", "ns=[::1", "ns=::1", "ns=a.test%23", "ns=a.test%3Fx",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		host, bad := registryHost(query)
		if bad != nil {
			if bad.status != http.StatusBadRequest && bad.status != http.StatusNotFound {
				t.Fatalf("failure %+v", bad)
			}
			return
		}
		if host == "" {
			return // none was named
		}
		if len(host) > maxHost || host != strings.ToLower(host) {
			t.Fatalf("host %q", host)
		}
		again, err := parseHost(host)
		if err != nil || again != host {
			t.Fatalf("%q is read again as %q, %v", host, again, err)
		}
		u, err := url.Parse("https://" + host + "/v2/")
		if err != nil || u.Host != host || u.User != nil || u.Path != "/v2/" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q in a URL is %+v, %v", host, u, err)
		}
	})
}

// A manifest that passes is JSON of a known type whose sizes are all in
// bounds.
func FuzzParseDocument(f *testing.F) {
	d := piece.Sum(nil)
	e := `{"digest":"` + d.String() + `","size":1}`
	for _, seed := range []string{
		"", "{}", "null", "[]", string(imageManifest(d, 1, d, 2)),
		`{"schemaVersion":2,"manifests":[` + e + `]}`, `{"schemaVersion":2,"layers":[` + e + `],"manifests":[]}`,
		`{"schemaVersion":2,"layers":[{"digest":"x","size":-1}]}`, `{"schemaVersion":2,"layers":[[[[[[]]]]]]}`,
		`{"schemaVersion":2,"layers":[null,{}]}`, `{"schemaVersion":2,"config":{"size":9223372036854775808}}`,
		`{"schemaVersion":2,"Layers":[],"layers":[` + e + `]}`, `{"schemaVersion":2,"layers":[` + e + `,` + e,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		doc, err := parseDocument(p)
		if err != nil {
			return
		}
		if !json.Valid(p) || !isManifestType(doc.mediaType) {
			t.Fatalf("passed as %q", doc.mediaType)
		}
		if len(doc.promises) > maxDescriptors+1 {
			t.Fatalf("%d promises", len(doc.promises))
		}
		for _, promised := range doc.promises {
			if promised.size < 0 || promised.size > piece.MaxBlobSize || promised.digest.IsZero() {
				t.Fatalf("promise %+v", promised)
			}
		}
	})
}
