package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/preheat"
)

// envelope is what Distribution notifies of, and what Harbor tells Kraken, which
// differs in its case alone: encoding/json does not mind.
type envelope struct {
	Events []struct {
		Action string `json:"action"`
		Target struct {
			MediaType  string `json:"mediaType"`
			Digest     string `json:"digest"`
			Repository string `json:"repository"`
			URL        string `json:"url"`
			Tag        string `json:"tag"`
		} `json:"target"`
		Request *struct {
			Host string `json:"host"`
		} `json:"request"`
	} `json:"events"`
}

// pushes are the images that were pushed by a tag. What is pushed without one is
// part of something that will be.
func (e *envelope) pushes() (all []preheat.Happening) {
	for _, ev := range e.Events {
		t := ev.Target
		if !strings.EqualFold(ev.Action, "push") || t.Tag == "" || !isManifest(t.MediaType) {
			continue
		}
		host := ""
		if u, err := url.Parse(t.URL); err == nil {
			host = u.Host
		}
		if host == "" && ev.Request != nil {
			host = ev.Request.Host
		}
		all = append(all, preheat.Happening{On: preheat.OnPush, Registry: host, Repository: t.Repository, Tag: t.Tag, Digest: t.Digest})
	}
	return all
}

func isManifest(mediaType string) bool {
	return strings.Contains(mediaType, ".manifest.") || strings.Contains(mediaType, ".index.")
}

// kraken preheats what Harbor's policies ask for. It has no credential with it.
func (h *Hooks) kraken(r *http.Request) (any, error) {
	var e envelope
	if err := readLoose(r, &e); err != nil {
		return nil, err
	}
	var asks []api.PreheatRequest
	for _, push := range e.pushes() {
		asks = append(asks, api.PreheatRequest{Image: push.Image()})
	}
	return h.create(r, asks)
}

// distribution preheats by rule what was pushed.
func (h *Hooks) distribution(r *http.Request) (any, error) {
	var e envelope
	if err := readLoose(r, &e); err != nil {
		return nil, err
	}
	return h.happened(r, e.pushes())
}

// harborEvent is a webhook of Harbor's, in its default form or as a CloudEvent.
type harborEvent struct {
	Type      string      `json:"type"`
	EventData *harborData `json:"event_data"`
	Data      *harborData `json:"data"`
}

type harborData struct {
	Resources []struct {
		Digest   string `json:"digest"`
		Tag      string `json:"tag"`
		URL      string `json:"resource_url"` // HOST/REPOSITORY:TAG, or by digest
		Overview map[string]struct {
			Status   string `json:"scan_status"`
			Severity string `json:"severity"`
		} `json:"scan_overview"`
	} `json:"resources"`
	Repository struct {
		FullName string `json:"repo_full_name"`
	} `json:"repository"`
}

// harborTypes are the events that may lead to a preheat.
var harborTypes = map[string]string{
	"PUSH_ARTIFACT": preheat.OnPush, "harbor.artifact.pushed": preheat.OnPush,
	"SCANNING_COMPLETED": preheat.OnScan, "harbor.scan.completed": preheat.OnScan,
}

// happenings are what an event tells of images with a tag.
func (e *harborEvent) happenings() (all []preheat.Happening) {
	data := e.EventData
	if data == nil {
		data = e.Data
	}
	on := harborTypes[e.Type]
	if data == nil || on == "" {
		return nil
	}
	for _, res := range data.Resources {
		host, _, _ := strings.Cut(res.URL, "/")
		one := preheat.Happening{On: on, Registry: host, Repository: data.Repository.FullName, Tag: res.Tag, Digest: res.Digest}
		for _, report := range res.Overview { // the worst of several scanners' would be better, but Harbor has one
			if strings.EqualFold(report.Status, "Success") {
				one.Severity = report.Severity
			}
		}
		if one.Tag != "" {
			all = append(all, one)
		}
	}
	return all
}

// harbor preheats by rule what was pushed, or scanned.
func (h *Hooks) harbor(r *http.Request) (any, error) {
	var e harborEvent
	if err := readLoose(r, &e); err != nil {
		return nil, err
	}
	return h.happened(r, e.happenings())
}

func (h *Hooks) happened(r *http.Request, all []preheat.Happening) (any, error) {
	var asks []api.PreheatRequest
	for _, one := range all {
		asks = append(asks, preheat.Requests(h.cfg.Rules, one)...)
	}
	return h.create(r, asks)
}

// create makes jobs, and tells their numbers. It fails with the first that is
// refused: who sends it again finds the others as they are. A rule that finds no nodes by
// its selector has nothing to do: sent again, it would hold up what a registry tells next.
func (h *Hooks) create(r *http.Request, asks []api.PreheatRequest) (any, error) {
	ids := []int64{}
	for _, ask := range asks {
		j, err := h.cfg.Desk.Create(r.Context(), ask)
		if err != nil {
			if asError(err).Status != http.StatusConflict {
				return nil, err
			}
			h.log.Warn("preheat without nodes", "from", r.RemoteAddr, "path", r.URL.Path, "image", ask.Image, "err", err)
			continue
		}
		h.log.Info("preheat asked for", "from", r.RemoteAddr, "path", r.URL.Path, "image", j.Image, "job", j.ID)
		ids = append(ids, j.ID)
	}
	return jsonObject{"jobs": ids}, nil
}
