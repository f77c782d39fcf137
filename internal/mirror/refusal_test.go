package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestRefusals(t *testing.T) {
	const ns = "?ns=registry.lab.test"
	absent := piece.Sum([]byte("absent")).String()
	long := strings.Repeat("a", maxName+1)
	tests := []struct {
		method, path string
		status       int
		code, says   string
		kind         Kind
		outcome      Outcome
	}{
		{"GET", "/", 404, "UNSUPPORTED", "/v2/", Other, Missing},
		{"GET", "/v1/x", 404, "UNSUPPORTED", "/v2/", Other, Missing},
		{"GET", "/v2/_catalog", 404, "UNSUPPORTED", "manifests and blobs only", Other, Missing},
		{"GET", "/v2/a/b/tags/list" + ns, 404, "UNSUPPORTED", "manifests and blobs only", Other, Missing},
		{"GET", "/v2/a/referrers/" + absent + ns, 404, "UNSUPPORTED", "manifests and blobs only", Other, Missing},
		{"GET", "/v2/a/blobs/uploads/" + ns, 404, "UNSUPPORTED", "manifests and blobs only", Other, Missing},
		{"GET", "/v2/a/manifests/" + ns, 404, "MANIFEST_UNKNOWN", "invalid tag", Tag, Missing},
		{"GET", "/v2/a/manifests/.INVALID" + ns, 404, "MANIFEST_UNKNOWN", "invalid tag", Tag, Missing},
		{"GET", "/v2/a/manifests/" + strings.Repeat("t", 129) + ns, 404, "MANIFEST_UNKNOWN", "invalid tag", Tag, Missing},
		{"GET", "/v2/manifests/1" + ns, 400, "NAME_INVALID", "", Tag, Rejected},
		{"GET", "/v2/A/manifests/1" + ns, 400, "NAME_INVALID", `"A"`, Tag, Rejected},
		{"GET", "/v2/a/../b/manifests/1" + ns, 400, "NAME_INVALID", "", Tag, Rejected},
		{"GET", "/v2/a%2f..%2fb/manifests/1" + ns, 400, "NAME_INVALID", "", Tag, Rejected},
		{"GET", "/v2/a//b/blobs/" + absent + ns, 400, "NAME_INVALID", "", Blob, Rejected},
		{"GET", "/v2/" + long + "/manifests/1" + ns, 400, "NAME_INVALID", "", Tag, Rejected},
		{"GET", "/v2/a/blobs/sha256:12" + ns, 400, "DIGEST_INVALID", "", Blob, Rejected},
		{"GET", "/v2/a/blobs/latest" + ns, 400, "DIGEST_INVALID", "", Blob, Rejected},
		{"GET", "/v2/a/blobs/" + strings.ToUpper(absent) + ns, 400, "DIGEST_INVALID", "", Blob, Rejected},
		{"GET", "/v2/a/manifests/md5:12" + ns, 400, "DIGEST_INVALID", "", Manifest, Rejected},
		{"GET", "/v2/a/blobs/sha512:" + strings.Repeat("0", 128) + ns, 404, "UNSUPPORTED", "ask the origin", Blob, Missing},
		{"GET", "/v2/a/manifests/1", 404, "NAME_UNKNOWN", "ns parameter", Tag, Missing},
		{"GET", "/v2/a/manifests/1?ns=", 400, "NAME_INVALID", "", Tag, Rejected},
		{"GET", "/v2/a/manifests/1?ns=a.test&ns=a.test", 400, "NAME_INVALID", "more than one", Tag, Rejected},
		{"GET", "/v2/a/manifests/1?ns=a.test;x", 400, "NAME_INVALID", "query", Tag, Rejected},
		{"GET", "/v2/a/manifests/1?ns=u%40a.test", 400, "NAME_INVALID", "not a registry host", Tag, Rejected},
		{"GET", "/v2/a/manifests/1?ns=a.test/x", 400, "NAME_INVALID", "not a registry host", Tag, Rejected},
		{"GET", "/v2/a/manifests/1" + ns, 404, "MANIFEST_UNKNOWN", "no such tag", Tag, Missing},
		{"GET", "/v2/a/manifests/" + absent + ns, 404, "MANIFEST_UNKNOWN", "never heard of it", Manifest, Missing},
		{"GET", "/v2/a/blobs/" + absent + ns, 404, "BLOB_UNKNOWN", "never heard of it", Blob, Missing},
		{"PUT", "/v2/a/manifests/1" + ns, 405, "UNSUPPORTED", "read-only", Tag, Rejected},
		{"POST", "/v2/a/blobs/uploads/" + ns, 405, "UNSUPPORTED", "read-only", Other, Rejected},
		{"DELETE", "/v2/a/blobs/" + absent + ns, 405, "UNSUPPORTED", "read-only", Blob, Rejected},
		{"POST", "/v2/", 405, "UNSUPPORTED", "read-only", Base, Rejected},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path[:min(len(tt.path), 60)], func(t *testing.T) {
			lab := newLab(t, newWorld(), Config{})
			a := lab.do(tt.method, tt.path)
			code, message := a.errorBody()
			if a.status != tt.status || code != tt.code || !strings.Contains(message, tt.says) {
				t.Errorf("got %d %s %q\nwant %d %s …%s…", a.status, code, message, tt.status, tt.code, tt.says)
			}
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if allow := a.header.Get("Allow"); (tt.status == 405) != (allow == "GET, HEAD") {
				t.Errorf("Allow %q with %d", allow, tt.status)
			}
			asked := uint64(1)
			if tt.method == "GET" {
				asked++
				head := lab.do("HEAD", tt.path)
				if head.status != tt.status || len(head.body) != 0 {
					t.Errorf("HEAD got %d with %d bytes, GET %d", head.status, len(head.body), tt.status)
				}
			}
			if lab.count(tt.kind, tt.outcome) != asked {
				t.Errorf("counted %v, want %d %v %v", lab.mirror.Stats().Requests, asked, tt.kind, tt.outcome)
			}
		})
	}
}

// What the origin or the engine fails with must reach the reader of
// containerd's error, in a status that sends containerd to its next host.
func TestFailuresAreTold(t *testing.T) {
	tests := []struct {
		err    error
		status int
		tag    string // code for a tag
		blob   string // code for a blob
	}{
		{&peer.OriginError{Status: 401, Message: "log in"}, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
		{&peer.OriginError{Status: 403, Message: "not yours"}, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
		{&peer.OriginError{Status: 404, Message: "not here"}, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
		{&peer.OriginError{Status: 412, Message: "has 3 vulnerabilities"}, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
		{&peer.OriginError{Status: 429, Message: "slow down"}, 503, "UNAVAILABLE", "UNAVAILABLE"},
		{&peer.OriginError{Status: 408, Message: "too slow"}, 503, "UNAVAILABLE", "UNAVAILABLE"},
		{&peer.OriginError{Status: 500, Message: "broken"}, 503, "UNAVAILABLE", "UNAVAILABLE"},
		{fmt.Errorf("host x: %w", ErrUnknownRegistry), 404, "NAME_UNKNOWN", "NAME_UNKNOWN"},
		{peer.ErrNotHeld, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
		{peer.ErrClosed, 503, "UNAVAILABLE", "UNAVAILABLE"},
		{errors.New("dial tcp: connection refused"), 503, "UNAVAILABLE", "UNAVAILABLE"},
		{context.DeadlineExceeded, 503, "UNAVAILABLE", "UNAVAILABLE"},
		{&piece.MismatchError{}, 503, "UNAVAILABLE", "UNAVAILABLE"},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error()[:min(40, len(tt.err.Error()))], func(t *testing.T) {
			w := newWorld()
			w.resolve = tt.err
			atOpen, blob := w.add([]byte("fails when opened"))
			blob.err = tt.err
			atAwait, blob := w.add([]byte("fails when awaited"))
			blob.await = func(context.Context, int64) error { return tt.err }
			lab := newLab(t, w, Config{})
			check := func(path, code string) {
				t.Helper()
				a := lab.do("GET", path)
				got, message := a.errorBody()
				if a.status != tt.status || got != code || !strings.Contains(message, tt.err.Error()) {
					t.Errorf("%s: got %d %s %q, want %d %s", path, a.status, got, message, tt.status, code)
				}
				if a.header.Get("Docker-Content-Digest") != "" {
					t.Error("a failure bears a content's digest")
				}
			}
			check(manifestPath("latest"), tt.tag)
			for _, d := range []piece.Digest{atOpen, atAwait} {
				check(manifestPath(d.String()), tt.tag)
				check(blobPath(d), tt.blob)
			}
			w.change(func() { w.source = tt.err })
			check(manifestPath(atOpen.String()), tt.tag)
			check(blobPath(atOpen), tt.blob)
		})
	}
}

func TestNoFailureIsRetriedAtTheMirror(t *testing.T) {
	for status := range 1000 {
		f := failureOf(Blob, fmt.Errorf("wrapped: %w", &peer.OriginError{Status: status}))
		if f.status != http.StatusNotFound && f.status != http.StatusServiceUnavailable {
			t.Errorf("origin's %d is answered with %d", status, f.status)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	w := newWorld()
	w.resolve = &peer.OriginError{Status: 404, Message: strings.Repeat("ä", 64<<10) + "\xff"}
	a := newLab(t, w, Config{}).do("GET", manifestPath("latest"))
	if code, _ := a.errorBody(); code != "MANIFEST_UNKNOWN" || len(a.body) > maxMessage+200 {
		t.Errorf("code %q in %d bytes", code, len(a.body))
	}
}

func TestBase(t *testing.T) {
	lab := newLab(t, newWorld(), Config{})
	for _, path := range []string{"/v2", "/v2/", "/v2/?ns=docker.io"} {
		for _, method := range []string{"GET", "HEAD"} {
			a := lab.do(method, path)
			if a.status != 200 || a.header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
				t.Errorf("%s %s: %d %v", method, path, a.status, a.header)
			}
			if method == "GET" && string(a.body) != "{}" {
				t.Errorf("body %q", a.body)
			}
		}
	}
}

func TestDefaultRegistry(t *testing.T) {
	w := newWorld()
	d, _ := w.add([]byte("content"))
	lab := newLab(t, w, Config{DefaultRegistry: "Default.Test:443"})
	if a := lab.do("GET", "/v2/a/blobs/"+d.String()); a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if a := lab.do("GET", "/v2/a/blobs/"+d.String()+"?ns=Other.test"); a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	for i, want := range []string{"default.test:443", "other.test"} {
		if got := lab.openings()[i].source.host; got != want {
			t.Errorf("request %d went to %q, want %q", i, got, want)
		}
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	w := newWorld()
	for name, cfg := range map[string]Config{
		"no blobs":      {Registries: w},
		"no registries": {Blobs: w},
		"default":       {Blobs: w, Registries: w, DefaultRegistry: "https://a.test"},
		"negative":      {Blobs: w, Registries: w, Drain: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
