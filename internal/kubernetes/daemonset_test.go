package kubernetes

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// The answers are those of a real API server, shortened.
func TestDaemonSet(t *testing.T) {
	for name, one := range map[string]struct {
		answer string
		want   DaemonSet
	}{
		"just made":    {`{"metadata":{"generation":1},"status":{"currentNumberScheduled":0,"desiredNumberScheduled":0,"numberReady":0}}`, DaemonSet{}},
		"half way":     {`{"metadata":{"generation":1},"status":{"desiredNumberScheduled":4,"numberReady":2,"observedGeneration":1}}`, DaemonSet{Nodes: 4, Ready: 2, Counted: true}},
		"of no node":   {`{"metadata":{"generation":1},"status":{"desiredNumberScheduled":0,"numberReady":0,"observedGeneration":1}}`, DaemonSet{Counted: true}},
		"changed anew": {`{"metadata":{"generation":2},"status":{"desiredNumberScheduled":4,"numberReady":4,"observedGeneration":1}}`, DaemonSet{Nodes: 4, Ready: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/apis/apps/v1/namespaces/p2pd/daemonsets/p2pd-restore" {
					t.Errorf("asked %s %s", r.Method, r.URL)
				}
				_, _ = w.Write([]byte(one.answer))
			})
			if got, err := c.DaemonSet(t.Context(), "p2pd", "p2pd-restore"); got != one.want || err != nil {
				t.Errorf("got %+v, %v, want %+v", got, err, one.want)
			}
		})
	}
}

func TestDeleteDaemonSet(t *testing.T) {
	for status, fails := range map[int]bool{http.StatusOK: false, http.StatusNotFound: false, http.StatusForbidden: true} {
		c := server(t, func(w http.ResponseWriter, r *http.Request) {
			var options map[string]string
			if err := json.NewDecoder(r.Body).Decode(&options); err != nil || r.Method != http.MethodDelete || options["propagationPolicy"] != "Background" {
				t.Errorf("asked %s %v, %v", r.Method, options, err)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"kind":"Status","message":"as the server says"}`))
		})
		err := c.DeleteDaemonSet(t.Context(), "p2pd", "p2pd-restore")
		if (err != nil) != fails || fails && !strings.Contains(err.Error(), "as the server says") {
			t.Errorf("%d: %v", status, err)
		}
	}
}
