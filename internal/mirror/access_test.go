package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// doorman is an Access that says what it is told to, and remembers.
type doorman struct {
	everybody
	err   error
	stale time.Duration
	asked []string
	links []piece.Digest
}

func (a *doorman) Resolve(ctx context.Context, q Asked, tag string) (Resolved, error) {
	a.asked = append(a.asked, fmt.Sprintf("%s/%s:%s %d", q.Host, q.Repo, tag, len(q.Authorization)))
	if a.err != nil {
		return Resolved{}, a.err
	}
	r, err := a.everybody.Resolve(ctx, q, tag)
	r.Stale = a.stale
	return r, err
}

func (a *doorman) Admit(ctx context.Context, q Asked, k Kind, d piece.Digest) (Grant, error) {
	a.asked = append(a.asked, fmt.Sprintf("%s/%s %s %s %d", q.Host, q.Repo, k, d.Short(), len(q.Authorization)))
	if a.err != nil {
		return nil, a.err
	}
	return a.everybody.Admit(ctx, q, k, d)
}

func (a *doorman) Link(_, _ string, _ piece.Digest, children []piece.Digest) {
	a.links = append(a.links, children...)
}

// guarded is a mirror of w behind a doorman.
func guarded(t *testing.T, w *world) (*Mirror, *doorman) {
	t.Helper()
	a := &doorman{everybody: everybody{w}}
	m, err := New(Config{Blobs: w, Registries: w, Access: a})
	if err != nil {
		t.Fatal(err)
	}
	return m, a
}

func answerOf(m *Mirror, method, path string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/v2/a/"+path+"?ns="+testHost, nil)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

// What the origin refuses, as clients are told it; and nothing is looked up.
func TestARefusalIsPassedOn(t *testing.T) {
	const body = `{"errors":[{"code":"THEIRS","message":"so they say"}]}`
	held := piece.Sum([]byte("held"))
	for _, tt := range []struct {
		path   string
		no     RefusedError
		status int
		says   string
	}{
		{"manifests/1", RefusedError{Status: 401, Challenge: "Bearer x"}, 401, "UNAUTHORIZED"},
		{"manifests/1", RefusedError{Status: 401, Body: []byte(body)}, 401, "THEIRS"},
		{"manifests/1", RefusedError{Status: 403, Body: []byte(body)}, 403, "THEIRS"},
		{"manifests/1", RefusedError{Status: 412, Body: []byte(body)}, 412, "THEIRS"},
		{"manifests/1", RefusedError{Status: 412, Reason: "a policy"}, 412, "a policy"},
		{"manifests/1", RefusedError{Status: 412, Body: []byte("<html>")}, 412, "DENIED"},
		{"manifests/1", RefusedError{Status: 404, Body: []byte(body)}, 404, "THEIRS"},
		{"manifests/1", RefusedError{Status: 405}, 404, "MANIFEST_UNKNOWN"},
		{"manifests/" + held.String(), RefusedError{Status: 412, Body: []byte(body)}, 412, "THEIRS"},
		{"blobs/" + held.String(), RefusedError{Status: 401, Challenge: "Bearer x", Body: []byte(body)}, 401, "THEIRS"},
		{"blobs/" + held.String(), RefusedError{Status: 401, Body: []byte(body)}, 404, "BLOB_UNKNOWN"},
		{"blobs/" + held.String(), RefusedError{Status: 403, Body: []byte(body)}, 404, "BLOB_UNKNOWN"},
		{"blobs/" + held.String(), RefusedError{Status: 404, Body: []byte(body)}, 404, "BLOB_UNKNOWN"},
	} {
		t.Run(fmt.Sprintf("%.9s %d", tt.path, tt.no.Status), func(t *testing.T) {
			w := newWorld()
			w.add([]byte("held"))
			m, a := guarded(t, w)
			a.err = fmt.Errorf("as it happens: %w", &tt.no)
			m.sizes.learn(testHost, "a", promise{held, 4}) // a HEAD could be answered from this
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				got := answerOf(m, method, tt.path)
				if got.Code != tt.status || got.Header().Get("WWW-Authenticate") != tt.no.Challenge {
					t.Errorf("%s: status %d, challenge %q", method, got.Code, got.Header().Get("WWW-Authenticate"))
				}
				if !strings.Contains(got.Body.String(), tt.says) {
					t.Errorf("%s: body %s does not say %q", method, got.Body, tt.says)
				}
			}
			if len(w.openings()) > 0 || w.resolved > 0 {
				t.Error("content was looked up for somebody who may not have it")
			}
		})
	}
}

// What a registry's policy denies is told of, by what was asked for; what clients
// are asked to prove first, what is not there and what is broken are not.
func TestWhatIsToldOfRefusals(t *testing.T) {
	held := piece.Sum([]byte("held"))
	for _, tt := range []struct {
		path  string
		err   error
		about string // empty: nothing is told
		want  ledger.Incident
	}{
		{"manifests/1", &RefusedError{Status: 403, Reason: "not yours"}, "/a:1", ledger.Incident{Status: 403, Reason: "not yours"}},
		{"manifests/1", &RefusedError{Status: 412}, "/a:1", ledger.Incident{Status: 412, Reason: "it gave no reason"}},
		{"manifests/" + held.String(), &RefusedError{Status: 451, Reason: "a court"}, "/a@" + held.String(), ledger.Incident{Status: 451, Reason: "a court"}},
		{"blobs/" + held.String(), &peer.OriginError{Status: 401, Message: "log in"}, "/a@" + held.String(), ledger.Incident{Status: 401, Reason: "log in"}},
		{"manifests/1", ErrUnknownRegistry, "/a:1", ledger.Incident{Reason: ErrUnknownRegistry.Error()}},
		{"manifests/1", &RefusedError{Status: 401, Challenge: "Bearer x"}, "", ledger.Incident{}},
		{"manifests/1", &RefusedError{Status: 404}, "", ledger.Incident{}},
		{"manifests/1", errors.New("broken"), "", ledger.Incident{}},
	} {
		m, a := guarded(t, newWorld())
		a.err = tt.err
		var told []ledger.Incident
		m.cfg.Refused = func(_ time.Time, one ledger.Incident) { told = append(told, one) }
		answerOf(m, http.MethodGet, tt.path)
		if tt.about == "" {
			if len(told) > 0 {
				t.Errorf("%v: told of %+v", tt.err, told)
			}
			continue
		}
		if len(told) != 1 || told[0].Kind != api.IncidentRefusal || told[0].About != testHost+tt.about || told[0].Status != tt.want.Status || !strings.HasSuffix(told[0].Reason, tt.want.Reason) {
			t.Errorf("%v: told of %+v", tt.err, told)
		}
	}
}

// Refused blobs are told from absent ones by nothing.
func TestARefusedBlobLooksAbsent(t *testing.T) {
	w := newWorld()
	d, _ := w.add([]byte("held"))
	m, a := guarded(t, w)
	var bodies []string
	for _, status := range []int{403, 404, 412} {
		a.err = &RefusedError{Status: status, Body: []byte(`{}`), Reason: fmt.Sprint(status)}
		bodies = append(bodies, answerOf(m, http.MethodGet, "blobs/"+d.String()).Body.String())
	}
	if bodies = slices.Compact(bodies); len(bodies) != 1 {
		t.Errorf("different answers: %q", bodies)
	}
}

// What the mirror asks of Access, and what it tells it.
func TestWhatAccessIsAsked(t *testing.T) {
	w := newWorld()
	layer, _ := w.add([]byte("layer"))
	foreign, config := piece.Sum([]byte("foreign")), piece.Sum([]byte("config"))
	index, _ := w.add(fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":1},`+
		`"layers":[{"digest":%q,"size":5,"urls":[]},{"digest":%q,"size":9,"urls":["https://elsewhere.test/x"]}]}`, config, layer, foreign))
	w.tags[testHost+"/a:1"] = Descriptor{index, -1, ociManifest}
	m, a := guarded(t, w)
	a.stale = 90 * time.Second
	tagged := answerOf(m, http.MethodGet, "manifests/1", "Bearer x")
	answerOf(m, http.MethodGet, "blobs/"+layer.String(), "Bearer x", "Bearer y")
	want := []string{testHost + "/a:1 1", testHost + "/a blob " + layer.Short() + " 2"}
	if diff := cmp.Diff(want, a.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	// What is elsewhere by URL, nobody has checked that the repository has it.
	if diff := cmp.Diff([]piece.Digest{layer, config}, a.links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if tagged.Code != http.StatusOK || tagged.Header().Get("Age") != "90" || tagged.Header().Get("Warning") == "" {
		t.Errorf("a stale tag: status %d, headers %v", tagged.Code, tagged.Header())
	}
}
