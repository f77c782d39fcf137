package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What nodes told is answered, and checks can be handed in, by who has the token;
// that is on the record.
func TestReports(t *testing.T) {
	st := newStage()
	st.ledger.Take(time.Now(), scheduler.Peer{ID: "seed", Node: "worker-1"}, ledger.Report{
		Pulls: []pulls.Record{{Of: pulls.Name{Host: "registry.test", Repo: "app", Digest: app}, Tag: "1", Began: time.Now(), Took: time.Second, Outcome: pulls.Complete,
			Blobs: []pulls.Arrival{{Digest: app, Size: 3, Done: time.Second, First: pulls.Never}}}},
		Incidents: []ledger.Incident{{Kind: api.IncidentRefusal, About: "registry.test/app:2", Status: 403, Reason: "denied"}, {Kind: api.IncidentVerify, About: app.String()}},
	})
	var images api.PulledImageList
	if code := st.ask(t, "GET", "/pulls", "", &images); code != http.StatusOK || len(images.Items) != 1 || images.Items[0].Image != "registry.test/app:1" || images.Kind != "PulledImageList" {
		t.Errorf("%d %+v", code, images)
	}
	var image api.PulledImageDetail
	if code := st.ask(t, "GET", "/pulls/"+app.String(), "", &image); code != http.StatusOK || len(image.Latest) != 1 || image.Latest[0].Node != "worker-1" || image.Kind != "PulledImage" {
		t.Errorf("%d %+v", code, image)
	}
	for query, want := range map[string]int{"": 2, "?kind=refusal": 1, "?kind=verify": 1} {
		var incidents api.IncidentList
		if code := st.ask(t, "GET", "/incidents"+query, "", &incidents); code != http.StatusOK || len(incidents.Items) != want {
			t.Errorf("%s: %d %+v", query, code, incidents)
		}
	}
	var taken api.Taken
	const run = `{"node":"worker-2","success":false,"made":3,"milliseconds":5,"findings":[{"id":"p2pd-ready","category":"p2pd","description":"p2pd is ready","result":"error","error":"no"}]}`
	if code := st.ask(t, "POST", "/checks", run, &taken); code != http.StatusOK || taken.By != "scheduler" || !strings.Contains(st.log.String(), `what="check of \"worker-2\", success false"`) {
		t.Errorf("%d %+v, and the record says %s", code, taken, st.log.String())
	}
	var checks api.CheckRunList
	if code := st.ask(t, "GET", "/checks", "", &checks); code != http.StatusOK || len(checks.Items) != 1 || checks.Items[0].Findings[0].ID != "p2pd-ready" || checks.Items[0].At.IsZero() {
		t.Errorf("%d %+v", code, checks)
	}
	for _, wrong := range [][3]string{
		{"GET", "/pulls/x", ""}, {"GET", "/incidents?kind=x", ""}, {"POST", "/checks", "{}"}, {"POST", "/checks", `{"nod":1}`}, {"POST", "/checks", `{"node":"` + strings.Repeat("x", bodyMost) + `"}`},
	} {
		var e api.Error
		if code := st.ask(t, wrong[0], wrong[1], wrong[2], &e); code != http.StatusBadRequest || e.Message == "" {
			t.Errorf("%.60v: %d %.100v", wrong, code, e)
		}
	}
	var e api.Error
	if code := st.ask(t, "GET", "/pulls/"+piece.Sum(nil).String(), "", &e); code != http.StatusNotFound || e.Hint == "" {
		t.Errorf("an image that nobody pulled: %d %+v", code, e)
	}
	if len(st.node.told) > 0 {
		t.Errorf("the node was told, too: %v", st.node.told)
	}
}

// A p2pd without a scheduler in it passes checks on.
func TestANodePassesChecksOn(t *testing.T) {
	st := newStage()
	st.Server = New(Config{Guard: ByToken(secret.New(password)), Node: st.node})
	var taken api.Taken
	if code := st.ask(t, "POST", "/checks", `{"node":"worker-2"}`, &taken); code != http.StatusOK || taken.By != "p2pd" || len(st.node.told) != 1 || st.node.told[0] != "report worker-2" {
		t.Errorf("%d %+v, told %v", code, taken, st.node.told)
	}
}
