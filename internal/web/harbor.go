package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/preheat"
)

const (
	// hookBodyMost bounds what a registry may tell at once: notifications come by
	// the dozen.
	hookBodyMost = 1 << 20
	// hookWithin bounds reading it.
	hookWithin = 20 * time.Second
	// tasksShown bounds the nodes that a job's answer names, for it ends up in
	// Harbor's log. Those that failed come first.
	tasksShown = 1000
)

// JobDesk is what a registry may have done. *preheat.Desk is one.
type JobDesk interface {
	Preheats
	// ImageOfURL is the image that a manifest's URL stands for. Errors are
	// *api.Error.
	ImageOfURL(text string) (string, error)
}

// HooksConfig is what Hooks are made of. Guard and Desk must be set.
type HooksConfig struct {
	Guard Guard
	Desk  JobDesk
	Rules []preheat.Rule
	// Clusters are the zones that Dragonfly's scheduler_cluster_ids stand for, none of
	// them empty. Without any, every ID stands for all nodes.
	Clusters map[int64][]string
	Logger   *slog.Logger // nil logs nothing
}

// Hooks is where registries ask for preheats, and tell what happens. It speaks as
// Dragonfly's manager (Harbor's P2P driver "dragonfly"), as Kraken's proxy (its
// driver "kraken"), and takes webhooks of Harbor and notifications of Distribution.
// It is an http.Handler, and answers nobody without a Guard's word.
type Hooks struct {
	cfg HooksConfig
	log *slog.Logger
	mux *http.ServeMux
}

// NewHooks makes them.
func NewHooks(cfg HooksConfig) *Hooks {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hooks{cfg: cfg, log: cfg.Logger, mux: http.NewServeMux()}
	for pattern, serve := range map[string]func(*http.Request) (any, error){
		"GET /healthy":                 h.healthy,
		"GET /health":                  h.healthy,
		"POST /oapi/v1/jobs":           h.createJob,
		"GET /oapi/v1/jobs/{id}":       h.showJob,
		"POST /registry/notifications": h.kraken,
		"POST /hooks/registry":         h.distribution,
		"POST /hooks/harbor":           h.harbor,
	} {
		h.mux.HandleFunc(pattern, h.answering(serve))
	}
	h.mux.HandleFunc("/", h.answering(func(r *http.Request) (any, error) {
		return nil, absent("there is no "+r.Method+" "+r.URL.Path, "docs/preheat.md lists what registries can ask for")
	}))
	return h
}

// ServeHTTP implements http.Handler.
func (h *Hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := h.cfg.Guard(r); err != nil {
		h.log.Info("preheat request refused", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "err", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="p2pd preheat"`)
		h.write(w, http.StatusUnauthorized, &api.Error{
			Meta: api.Of("Error"), Status: http.StatusUnauthorized, Message: "this needs a preheat token: Authorization: Bearer TOKEN",
			Hint: "in Harbor choose OAUTH and enter a token of the file that preheat.tokenFile names",
		})
		return
	}
	h.mux.ServeHTTP(w, r)
}

// answering serves one route. It never answers 208, which Harbor takes for a
// failure.
func (h *Hooks) answering(serve func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Where that cannot be set, the server's own limits have to do.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(hookWithin))
		r.Body = http.MaxBytesReader(w, r.Body, hookBodyMost)
		answer, err := serve(r)
		if err != nil {
			e := asError(err)
			e.Meta = api.Of("Error")
			h.log.Warn("preheat request failed", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "err", err)
			h.write(w, e.Status, e)
			return
		}
		h.write(w, http.StatusOK, answer)
	}
}

func (h *Hooks) write(w http.ResponseWriter, status int, answer any) {
	b, err := json.Marshal(answer)
	if err != nil {
		h.log.Error("an answer cannot be written", "err", err)
		status, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // what a client does not take is its own loss
}

func (*Hooks) healthy(*http.Request) (any, error) { return jsonObject{"status": "OK"}, nil }

// jsonObject is a small JSON object.
type jsonObject = map[string]any

// readLoose decodes a body of somebody else's format: fields that are not known mean
// nothing, and null is nothing.
func readLoose(r *http.Request, into any) error {
	b, err := io.ReadAll(r.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return &api.Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body has more than %d bytes", hookBodyMost)}
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil { // what it quotes is a field's name at most
		return invalid("the body is not what was expected: "+err.Error(), "docs/preheat.md says what is")
	}
	return nil
}

// dragonflyJob is a request of Dragonfly's API for jobs, as Harbor sends it, with
// what others may add.
type dragonflyJob struct {
	Type string `json:"type"`
	Args struct {
		Type       string            `json:"type"`
		URL        string            `json:"url"`
		Headers    map[string]string `json:"headers"`
		Scope      string            `json:"scope"`
		Timeout    time.Duration     `json:"timeout"` // in nanoseconds
		Platform   string            `json:"platform"`
		Username   string            `json:"username"`
		Password   string            `json:"password"`
		IPs        []string          `json:"ips"`
		Percentage int               `json:"percentage"`
		Count      int               `json:"count"`
	} `json:"args"`
	Clusters []int64 `json:"scheduler_cluster_ids"`
}

// Dragonfly's scopes.
const (
	singleSeed = "single_seed_peer"
	allSeeds   = "all_seed_peers"
	allPeers   = "all_peers"
)

// request is what it asks for.
func (j *dragonflyJob) request(image string) (r api.PreheatRequest, err error) {
	a := &j.Args
	r = api.PreheatRequest{Image: image, Count: a.Count, Percentage: a.Percentage, Nodes: a.IPs}
	if a.Platform != "" {
		r.Platforms = []string{a.Platform}
	}
	if a.Timeout > 0 {
		r.Timeout = min(max(a.Timeout, time.Minute), preheat.MaxTimeout).String()
	}
	limited := a.Count != 0 || a.Percentage != 0
	switch a.Scope {
	case singleSeed:
		if !limited && len(a.IPs) == 0 {
			r.Count = 1
		}
	case "", allSeeds:
		if !limited && len(a.IPs) == 0 {
			r.Scope = api.PreheatZone
		}
	case allPeers:
		if !limited {
			r.Scope = api.PreheatAll
		}
	default:
		return r, unprocessable(fmt.Sprintf("args.scope: %.40q is none", a.Scope), "use "+singleSeed+", "+allSeeds+" or "+allPeers)
	}
	r.Credential, err = j.credential()
	return r, err
}

// credential is what it gives to read with. Its headers are for the registry; only
// Authorization is heeded.
func (j *dragonflyJob) credential() (*api.PreheatCredential, error) {
	c := &api.PreheatCredential{Username: j.Args.Username, Password: j.Args.Password}
	for name, value := range j.Args.Headers {
		if !strings.EqualFold(name, "Authorization") || value == "" {
			continue
		}
		kind, rest, _ := strings.Cut(value, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case strings.EqualFold(kind, "Bearer"):
			return &api.PreheatCredential{Token: rest}, nil
		case strings.EqualFold(kind, "Basic"):
			b, err := base64.StdEncoding.DecodeString(rest)
			user, password, ok := strings.Cut(string(b), ":")
			if err == nil && ok {
				return &api.PreheatCredential{Username: user, Password: password}, nil
			}
		}
		return nil, unprocessable("args.headers: Authorization is neither Bearer TOKEN nor Basic", "")
	}
	return c, nil
}

func unprocessable(message, hint string) error {
	return &api.Error{Status: http.StatusUnprocessableEntity, Message: message, Hint: hint}
}

// createJob takes a job as Dragonfly's manager does.
func (h *Hooks) createJob(r *http.Request) (any, error) {
	var j dragonflyJob
	if err := readLoose(r, &j); err != nil {
		return nil, err
	}
	if j.Type != "preheat" || j.Args.Type != "" && j.Args.Type != "image" && j.Args.Type != "cnai" {
		return nil, unprocessable(fmt.Sprintf("a job of type %.40q with args of type %.40q", j.Type, j.Args.Type), "only preheat of image or cnai is known here")
	}
	image, err := h.cfg.Desk.ImageOfURL(j.Args.URL)
	if err != nil {
		return nil, err
	}
	ask, err := j.request(image)
	if err != nil {
		return nil, err
	}
	if ask.Zones, err = h.zones(j.Clusters); err != nil {
		return nil, err
	}
	made, err := h.cfg.Desk.Create(r.Context(), ask)
	if err != nil {
		return nil, err
	}
	h.log.Info("preheat asked for", "from", r.RemoteAddr, "image", made.Image, "job", made.ID)
	return dragonflyAnswer(&made, j.Clusters), nil
}

// zones are those that clusters stand for; none: all of them.
func (h *Hooks) zones(clusters []int64) (all []string, err error) {
	if len(h.cfg.Clusters) == 0 {
		return nil, nil
	}
	for _, id := range clusters {
		zones := h.cfg.Clusters[id]
		if len(zones) == 0 {
			return nil, unprocessable(fmt.Sprintf("scheduler_cluster_ids: there is no cluster %d; there are %v", id, slices.Sorted(maps.Keys(h.cfg.Clusters))), "preheat.clusters of the scheduler says which zones a cluster is")
		}
		all = append(all, zones...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// showJob tells of a job as Dragonfly's manager does.
func (h *Hooks) showJob(r *http.Request) (any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, invalid(fmt.Sprintf("%.40q is no job's number", r.PathValue("id")), "")
	}
	j, ok := h.cfg.Desk.Job(r.Context(), id)
	if !ok {
		return nil, absent(fmt.Sprintf("there is no job %d", id), "it ended more than a day ago, or went with the last scheduler that knew it")
	}
	return dragonflyAnswer(&j, nil), nil
}

// dragonflyState is the state of a job there. Harbor knows these three alone.
func dragonflyState(state string) string {
	switch state {
	case api.PreheatSucceeded:
		return "SUCCESS"
	case api.PreheatFailed, api.PreheatCancelled:
		return "FAILURE"
	}
	return "PENDING"
}

// dragonflyAnswer is a job in Dragonfly's words. Its nodes are there once it has
// ended.
func dragonflyAnswer(j *api.Preheat, clusters []int64) jsonObject {
	if clusters == nil {
		clusters = []int64{}
	}
	done, failed := []jsonObject{}, []jsonObject{}
	host, repo := repositoryOf(j.Image)
	base := "https://" + host + "/v2/" + repo
	for _, n := range j.NodeItems {
		task := jsonObject{"url": base + "/manifests/" + j.Digest, "hostname": n.Node, "ip": n.Address}
		switch n.State {
		case api.PreheatDone:
			done = append(done, task)
		case api.PreheatFailed:
			if task["description"] = n.Error; n.FailedBlob != "" {
				task["url"] = base + "/blobs/" + n.FailedBlob
			}
			failed = append(failed, task)
		}
	}
	failed = failed[:min(len(failed), tasksShown)]
	done = done[:min(len(done), tasksShown-len(failed))]
	return jsonObject{
		"id": j.ID, "created_at": j.Created, "updated_at": j.Updated, "type": "preheat", "state": dragonflyState(j.State), "scheduler_cluster_ids": clusters,
		"result": jsonObject{"job_states": []jsonObject{{
			"error": j.Error, "state": dragonflyState(j.State),
			"results": []jsonObject{{"scheduler_cluster_id": 1, "success_tasks": done, "failure_tasks": failed}},
		}}},
	}
}

// repositoryOf takes the name of an image apart.
func repositoryOf(image string) (host, repo string) {
	host, rest, _ := strings.Cut(image, "/")
	if name, _, pinned := strings.Cut(rest, "@"); pinned {
		return host, name
	}
	return host, rest[:max(strings.LastIndexByte(rest, ':'), 0)]
}
