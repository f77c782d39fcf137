package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

// taker is a program on a socket that takes checks, or answers with a status.
func taker(t *testing.T, status int) (address string, got *[]api.CheckRun) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	got = &[]api.CheckRun{}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var run api.CheckRun
		if err := json.NewDecoder(r.Body).Decode(&run); err != nil || r.URL.Path != api.Prefix+"/checks" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		w.WriteHeader(status)
		if status == http.StatusOK {
			*got = append(*got, run)
			_ = json.NewEncoder(w).Encode(api.Taken{}) // the client sees it if not
			return
		}
		_ = json.NewEncoder(w).Encode(api.Error{Status: status, Message: "it does not want it"}) // as above
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return "unix://" + path, got
}

// A result goes to p2pd, and to the scheduler where that cannot pass it on; that
// nobody is there is no trouble, and anything else is told.
func TestHandIn(t *testing.T) {
	t.Parallel()
	found := checkResults{Success: false, Categories: []checkGroup{{Name: "p2pd", Checks: []checkResult{
		{ID: "a", Result: resultOK}, {ID: "b", Description: "it runs", Result: resultError, Error: "it does not"}, {ID: "c", Result: resultSkipped}, {ID: "d", Result: resultWarning},
	}}}, Pull: &pullMeasured{Millis: 7}}
	nobody := "unix://" + filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		node, scheduler int // status of each; 0: nobody is there
		by              string
		says            string
	}{
		"p2pd takes it":                 {200, 200, "p2pd", ""},
		"p2pd has no scheduler":         {503, 200, "scheduler", ""},
		"p2pd is older":                 {404, 200, "scheduler", ""},
		"p2pd is down":                  {0, 200, "scheduler", ""},
		"nobody is there":               {0, 0, "", ""},
		"the scheduler takes no change": {0, 403, "", "the live page does not show this: it does not want it"},
	} {
		k := &checkup{cli: &cli{node: nobody, server: nobody, timeout: time.Minute}, installed: true, image: "registry.test/app:1", every: time.Minute}
		got := map[string]*[]api.CheckRun{"p2pd": {}, "scheduler": {}}
		if c.node != 0 {
			k.cli.node, got["p2pd"] = taker(t, c.node)
		}
		if c.scheduler != 0 {
			k.cli.server, got["scheduler"] = taker(t, c.scheduler)
		}
		var said strings.Builder
		k.handIn(context.Background(), &said, &found, 3*time.Second)
		if !strings.HasPrefix(said.String(), c.says) || c.says == "" && said.Len() > 0 {
			t.Errorf("%s: it says %q", name, said.String())
		}
		for who, runs := range got {
			if (who == c.by) != (len(*runs) == 1) {
				t.Errorf("%s: %s was told %+v", name, who, *runs)
			}
			for _, run := range *runs {
				if run.Success || run.Made != 3 || len(run.Findings) != 2 || run.Findings[0].Error != "it does not" || run.Millis != 3000 || run.PullMillis != 7 || run.EverySeconds != 60 {
					t.Errorf("%s: told %+v", name, run)
				}
			}
		}
	}
}
