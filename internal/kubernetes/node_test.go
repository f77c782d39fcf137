package kubernetes

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestNodeLabel(t *testing.T) {
	const label = "topology.example/rack"
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer the-schedulers-own" {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
		switch r.URL.EscapedPath() {
		case "/api/v1/nodes/worker-1":
			_, _ = w.Write([]byte(`{"kind":"Node","metadata":{"name":"worker-1","labels":{"topology.example/rack":"r7","other":"x"}},"spec":{}}`))
		case "/api/v1/nodes/secret":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message":"cannot get resource nodes"}`))
		case "/api/v1/nodes/plain":
			_, _ = w.Write([]byte(`{"kind":"Node","metadata":{"name":"plain"}}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"nodes not found"}`))
		}
	})
	// A name is a name, whatever it looks like.
	for node, want := range map[string]string{
		"worker-1": "r7", "plain": "", "gone": "", "../../api/v1/nodes/worker-1": "", "worker-1?watch=1": "",
	} {
		if got, err := c.NodeLabel(t.Context(), node, label); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", node, got, err, want)
		}
	}
	_, err := c.NodeLabel(t.Context(), "secret", label)
	if _, unsure := errors.AsType[UnsureError](err); !unsure || !strings.Contains(err.Error(), "node secret") || !strings.Contains(err.Error(), "cannot get") {
		t.Errorf("an account that may not ask: %v", err)
	}
}
