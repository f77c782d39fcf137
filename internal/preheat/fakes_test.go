package preheat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// refusal is what a registry says.
type refusal int

func (r refusal) Error() string   { return fmt.Sprintf("the registry answered %d", int(r)) }
func (r refusal) HTTPStatus() int { return int(r) }

const (
	host     = "registry.test"
	plainOne = "plain.test"
	private  = "team/private" // wants the token "good"
)

// world is one registry, and the peers that are attached to one or several desks.
type world struct {
	mu        sync.Mutex
	manifests map[piece.Digest][]byte
	tags      map[string]piece.Digest
	blocked   chan struct{} // looking up waits until it is closed; nil: for nothing
	agents    map[scheduler.PeerID]*Agent
	peers     []scheduler.Peer
	passed    []scheduler.Decision
}

func newWorld() *world {
	return &world{manifests: make(map[piece.Digest][]byte), tags: make(map[string]piece.Digest), agents: make(map[scheduler.PeerID]*Agent)}
}

func (w *world) Known(h string) (string, bool, error) {
	if h != host && h != plainOne {
		return "", false, fmt.Errorf("registry %q is not allowed here", h)
	}
	return h, h == plainOne, nil
}

func (w *world) Authorize(_ context.Context, _, _, user string, password secret.Value) (secret.Value, error) {
	if user != "robot" || password.Reveal() != "hunter2" {
		return secret.Value{}, refusal(unauthorized)
	}
	return secret.New("Bearer good"), nil
}

func (w *world) may(repo string, as secret.Value) error {
	if repo == private && as.Reveal() != "Bearer good" {
		return refusal(unauthorized)
	}
	return nil
}

func (w *world) Resolve(ctx context.Context, _, repo, tag string, as secret.Value) (piece.Digest, error) {
	w.mu.Lock()
	blocked, d := w.blocked, w.tags[tag]
	w.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			return d, ctx.Err()
		}
	}
	if d.IsZero() {
		return d, refusal(404)
	}
	return d, w.may(repo, as)
}

func (w *world) Manifest(_ context.Context, _, repo string, d piece.Digest, as secret.Value) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.manifests[d]
	if !ok {
		return nil, refusal(404)
	}
	return b, w.may(repo, as)
}

func (w *world) Peers(context.Context) ([]scheduler.Peer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peers, nil
}

func (w *world) Pass(ds []scheduler.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed = append(w.passed, ds...)
	for _, d := range ds {
		if a := w.agents[d.Recipient()]; a != nil {
			a.Take(d)
		}
	}
}

// told are the jobs that a peer was told of, one entry for each time.
func (w *world) told(p scheduler.PeerID) (all []scheduler.Preheat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.passed {
		if pre, ok := d.(scheduler.Preheat); ok && pre.To == p {
			all = append(all, pre)
		}
	}
	return all
}

// put stores a document.
func (w *world) put(t *testing.T, doc any) piece.Digest {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := piece.Sum(b)
	w.manifests[d] = b
	return d
}

// object is a JSON object.
type object map[string]any

const (
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
)

// manifest is an image of one config and some layers of 100 bytes.
func (w *world) manifest(t *testing.T, layers ...string) piece.Digest {
	t.Helper()
	list := make([]object, 0, len(layers))
	for _, l := range layers {
		list = append(list, object{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": piece.Sum([]byte(l)).String(), "size": 100})
	}
	return w.put(t, object{
		"schemaVersion": 2, "mediaType": ociManifest, "layers": list,
		"config": object{"digest": piece.Sum([]byte("config of " + strings.Join(layers, ","))).String(), "size": 50},
	})
}

// entry is one of an index.
func entry(d piece.Digest, os, arch, variant string) object {
	return object{"mediaType": ociManifest, "digest": d.String(), "size": 1, "platform": object{"os": os, "architecture": arch, "variant": variant}}
}

// image tags an image for two platforms.
func (w *world) image(t *testing.T, tag string) piece.Digest {
	t.Helper()
	d := w.put(t, object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{
		entry(w.manifest(t, tag+" amd64", "shared"), "linux", "amd64", ""),
		entry(w.manifest(t, tag+" arm64", "shared"), "linux", "arm64", "v8"),
		entry(w.manifest(t, "signature"), "unknown", "unknown", ""),
	}})
	w.tags[tag] = d
	return d
}

// attach adds peers: ID/ZONE/PLATFORM. Those with a + after the ID unpack.
func (w *world) attach(all ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range all {
		part := strings.SplitN(text, "/", 3)
		id, unpacks := strings.CutSuffix(part[0], "+")
		p := scheduler.Peer{ID: scheduler.PeerID(id), Unpacks: unpacks, Node: "node-" + id, Zone: part[1], Bulk: "192.0.2.1:7302"}
		if len(part) > 2 {
			p.Platform = part[2]
		}
		w.peers = append(w.peers, p)
	}
}

// engine is a node's that has some bytes of each blob at once, and the rest when it
// is let.
type engine struct {
	mu    sync.Mutex
	go_   chan struct{} // closed: everything arrives
	err   error
	only  secret.Value // if set, blobs want it
	have  map[piece.Digest]int64
	calls int
	busy  bool // somebody waits for a pull
}

func newEngine(free bool) *engine {
	e := &engine{go_: make(chan struct{}), have: make(map[piece.Digest]int64)}
	if free {
		close(e.go_)
	}
	return e
}

func (e *engine) Fetch(ctx context.Context, w Want) error {
	e.mu.Lock()
	e.calls++
	e.have[w.Digest] = w.Size / 2
	err := e.err
	if err == nil && !e.only.IsZero() && !e.only.Equal(w.Authorization) {
		err = refusal(unauthorized)
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-e.go_:
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.have[w.Digest] = w.Size
	return nil
}

func (e *engine) Fetched(w Want) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.have[w.Digest]
}

func (e *engine) Busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.busy
}

// setBusy says whether somebody waits for a pull.
func (e *engine) setBusy(busy bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = busy
}

var errTest = errors.New("no such luck")

// job waits for a desk's job to be in a state.
func job(t *testing.T, k *Desk, id int64, state string) api.Preheat {
	t.Helper()
	for range 4000 {
		j, ok := k.Job(t.Context(), id)
		if ok && j.State == state {
			return j
		}
		time.Sleep(time.Second)
	}
	j, ok := k.Job(t.Context(), id)
	t.Fatalf("job: %v %+v, want %s", ok, j, state)
	return j
}
