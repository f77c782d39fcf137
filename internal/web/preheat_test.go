package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
)

// preheats takes every job but those of the image "no", and of nodes that are "nowhere".
type preheats struct {
	asked []api.PreheatRequest
	jobs  []api.Preheat // the oldest first
}

// firstJob is the number of the first: more than 32 bits have.
const firstJob = 1 << 40

func (p *preheats) Create(_ context.Context, r api.PreheatRequest) (api.Preheat, error) {
	p.asked = append(p.asked, r)
	if r.Image == "no" {
		return api.Preheat{}, &api.Error{Status: http.StatusForbidden, Message: "that registry is not listed"}
	}
	if r.Selector == "nowhere" {
		return api.Preheat{}, &api.Error{Status: http.StatusConflict, Message: "no node fits"}
	}
	at := time.Unix(1e9, 0).UTC()
	j := api.Preheat{Meta: api.Of("Preheat"), ID: firstJob + int64(len(p.jobs)), Image: r.Image, State: api.PreheatPending, Created: at, Updated: at}
	p.jobs = append(p.jobs, j)
	return j, nil
}

func (p *preheats) Jobs() []api.Preheat { return append([]api.Preheat{}, p.jobs...) }

func (p *preheats) find(id int64) *api.Preheat {
	for i := range p.jobs {
		if p.jobs[i].ID == id {
			return &p.jobs[i]
		}
	}
	return nil
}

func (p *preheats) Job(_ context.Context, id int64) (api.Preheat, bool) {
	if j := p.find(id); j != nil {
		return *j, true
	}
	return api.Preheat{}, false
}

func (p *preheats) Cancel(id int64, why string) (api.Preheat, bool) {
	j := p.find(id)
	if j == nil {
		return api.Preheat{}, false
	}
	j.State, j.Error = api.PreheatCancelled, why
	return *j, true
}

// A job is made, shown, listed and cancelled; each change is on record, and nothing
// of a credential is.
func TestPreheats(t *testing.T) {
	st := newStage()
	var j api.Preheat
	if code := st.ask(t, http.MethodPost, "/preheats", `{"image":"registry.test/app:1","scope":"all","credential":{"username":"u","password":"hunter2"}}`, &j); code != http.StatusOK || j.ID != firstJob {
		t.Fatalf("create: %d %+v", code, j)
	}
	want := []api.PreheatRequest{{Image: "registry.test/app:1", Scope: "all", Credential: &api.PreheatCredential{Username: "u", Password: "hunter2"}}}
	if diff := cmp.Diff(want, st.preheats.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	var list api.PreheatList
	if code := st.ask(t, http.MethodGet, "/preheats", "", &list); code != http.StatusOK || len(list.Items) != 1 {
		t.Errorf("list: %d %+v", code, list)
	}
	if code := st.ask(t, http.MethodGet, "/preheats/1099511627776", "", &j); code != http.StatusOK || j.Image != "registry.test/app:1" {
		t.Errorf("show: %d %+v", code, j)
	}
	if code := st.ask(t, http.MethodDelete, "/preheats/1099511627776", "", &j); code != http.StatusOK || j.State != api.PreheatCancelled || !strings.Contains(j.Error, "token from") {
		t.Errorf("cancel: %d %+v", code, j)
	}
	for _, rec := range []string{"preheat registry.test/app:1, job 1099511627776", "preheat registry.test/app:1 is cancelled"} {
		if !strings.Contains(st.log.String(), rec) {
			t.Errorf("no record of %q in:\n%s", rec, st.log.String())
		}
	}
	if strings.Contains(st.log.String(), "hunter2") {
		t.Errorf("the password is on record:\n%s", st.log.String())
	}
}

func TestPreheatsRefused(t *testing.T) {
	st := newStage()
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{http.MethodPost, "/preheats", `{"image":"no"}`, http.StatusForbidden, "not listed"},
		{http.MethodPost, "/preheats", `{"imgae":"x"}`, http.StatusBadRequest, "imgae"},
		{http.MethodGet, "/preheats/x", "", http.StatusBadRequest, "no job's number"},
		{http.MethodGet, "/preheats/17", "", http.StatusNotFound, "no preheat job 17"},
		{http.MethodDelete, "/preheats/0", "", http.StatusBadRequest, "no job's number"},
		{http.MethodDelete, "/preheats/17", "", http.StatusNotFound, "no preheat job 17"},
	} {
		var e api.Error
		if code := st.ask(t, tt.method, tt.path, tt.body, &e); code != tt.code || !strings.Contains(e.Error(), tt.want) {
			t.Errorf("%s %s %s: %d %v, want %d about %q", tt.method, tt.path, tt.body, code, &e, tt.code, tt.want)
		}
	}
}
