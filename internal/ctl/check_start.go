package ctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/cri"
)

// startMeasured is the pull and the container that were tried over CRI.
type startMeasured struct {
	Runtime    string `json:"runtime"`
	Image      string `json:"image"`
	PullMillis int64  `json:"pullMilliseconds"`
	// WasThere: the runtime had the image, so that the pull proves little.
	WasThere    bool  `json:"wasThere"`
	StartMillis int64 `json:"startMilliseconds"`
	// Bytes are what p2pd received meanwhile, Served what it gave to clients.
	Bytes  api.Bytes `json:"bytes"`
	Served int64     `json:"served"`
	// Usage is what p2pd took for the pull, and the memory that it had then.
	Usage api.Usage `json:"usage"`
}

func (k *checkup) startChecks() []check {
	return []check{
		{description: "the runtime answers over CRI", anchor: "cri", fatal: true, look: k.runtimeAnswers},
		{description: "the runtime pulls the image", anchor: "cri-pull", fatal: true, look: k.runtimePulls},
		{description: "a container starts from it", anchor: "cri-start", look: k.containerStarts},
		{description: "nothing of it is left", anchor: "cri-clean", always: true, look: k.cleanUp},
	}
}

func (k *checkup) runtimeAnswers(ctx context.Context) (string, error) {
	if _, err := os.Stat(k.criSocket); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no socket %s: --cri-socket says where the runtime's is", k.criSocket)
	}
	r, err := cri.Dial(k.criSocket)
	if err != nil {
		return "", err
	}
	k.runtime = r
	v, err := r.Version(ctx)
	k.started = &startMeasured{Runtime: v, Image: k.ref.Name()}
	return v, err
}

// runtimePulls has the image pulled, and measures what p2pd did for it.
func (k *checkup) runtimePulls(ctx context.Context) (string, error) {
	auth, err := credentials(ctx, k.ref)
	if err != nil {
		return "", err
	}
	before := k.counted(ctx)
	began := time.Now()
	wasThere, err := k.runtime.Pull(ctx, k.ref.Name(), auth)
	if err != nil {
		return "", fmt.Errorf("%w\np2pctl explain %s says what p2pd did", err, k.image)
	}
	s, after := k.started, k.counted(ctx)
	s.PullMillis, s.WasThere = time.Since(began).Milliseconds(), wasThere
	s.Bytes = api.Bytes{Peers: after.Bytes.Peers - before.Bytes.Peers, Origin: after.Bytes.Origin - before.Bytes.Origin}
	s.Served, s.Usage = after.Served-before.Served, used(before, after)
	took := time.Duration(s.PullMillis) * time.Millisecond
	switch {
	case s.WasThere:
		return fmt.Sprintf("in %s; but it had it before", took), nil
	case k.node != nil && s.Served == 0:
		return "", warn("it pulled the image in %s, and took nothing from p2pd: is p2pd in the hosts.toml that it reads?", took)
	}
	return fmt.Sprintf("in %s; p2pd gave %s, which it had from peers (%s), the registry (%s) and its store%s", took, bytesText(s.Served), bytesText(s.Bytes.Peers), bytesText(s.Bytes.Origin), usageText(s.Usage)), nil
}

// used is what p2pd took between two looks at it.
func used(before, after api.NodeStatus) api.Usage {
	b, a := before.Usage, after.Usage
	return api.Usage{
		CPUSeconds: a.CPUSeconds - b.CPUSeconds, MemoryBytes: a.MemoryBytes,
		DiskRead: a.DiskRead - b.DiskRead, DiskWritten: a.DiskWritten - b.DiskWritten,
	}
}

// usageText is the rest of a sentence; empty where p2pd does not tell.
func usageText(u api.Usage) string {
	if u.MemoryBytes == 0 {
		return ""
	}
	return fmt.Sprintf("; it took %.2f s of CPU, has %s of memory, read %s of its disk and wrote %s", u.CPUSeconds, bytesText(u.MemoryBytes), bytesText(u.DiskRead), bytesText(u.DiskWritten))
}

// counted is what p2pd has counted so far; nothing if it does not answer.
func (k *checkup) counted(ctx context.Context) api.NodeStatus {
	cl, err := k.cli.p2pd()
	if err != nil {
		return api.NodeStatus{}
	}
	var st api.Status
	if err := cl.get(ctx, "/status", nil, &st); err != nil || st.Node == nil {
		return api.NodeStatus{}
	}
	return *st.Node
}

func (k *checkup) containerStarts(ctx context.Context) (string, error) {
	began := time.Now()
	text, err := k.runtime.Start(ctx, k.ref.Name(), k.command)
	k.started.StartMillis = time.Since(began).Milliseconds()
	return text, err
}

// cleanUp runs whatever failed before.
func (k *checkup) cleanUp(ctx context.Context) (string, error) {
	if k.runtime == nil {
		return "", skip("nothing was started")
	}
	err := errors.Join(k.runtime.Undo(ctx), k.runtime.Close())
	k.runtime = nil
	return "", err
}

func credentials(ctx context.Context, ref name.Reference) (authn.AuthConfig, error) {
	a, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("credentials for %s: %w", ref.Context().RegistryStr(), err)
	}
	cfg, err := authn.Authorization(ctx, a)
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("credentials for %s: %w", ref.Context().RegistryStr(), err)
	}
	return *cfg, nil
}
