package e2e

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// The registries as images name them. All give the same content; what differs
// is whom they let have it.
const (
	tokenHost  = "token.lab.test"  // wants tokens
	harborHost = "harbor.lab.test" // as tokenHost, and may have a policy
	slyHost    = "sly.lab.test"    // as tokenHost, and sends clients to slyName for tokens
	basicHost  = "basic.lab.test"  // wants passwords, by HTTPS; clients show them to p2pd
	closedHost = "closed.lab.test" // the same one, but p2pd must not ask for passwords
	slyName    = "sts.lab.test"

	harborPort = 5012
	slyPort    = 5013

	tenantsSize = lab.Size(4 << 20)
)

// The nodes by what they are in the test.
const (
	holder = iota // has its image in containerd, and nothing of its own
	puller        // pulls first
	friend        // has what peers have
)

// tenants are two users, a public repository and three nodes before registries
// that tell them apart.
type tenants struct {
	*lab.Lab
	tokens        *lab.TokenServer
	token, basic  *lab.SecureRegistry
	harbor, sly   *lab.Warden
	scheduler     *lab.Daemon
	nodes         []*lab.Daemon
	holding       *lab.Containerd
	images        map[string]lab.Image // by REPOSITORY:TAG
	linkLocalAddr netip.Addr
}

// Whoever may have an image gets it, and nobody else, wherever its bytes are:
// with the registry that most others derive from behind a token server and
// behind passwords, and with containerd as the client where it can be.
func TestTenants(t *testing.T) {
	ctx := gate(t)
	x := openTenants(ctx, t)
	run := func(name string, f func(context.Context, *testing.T, *tenants)) {
		t.Run(name, func(t *testing.T) { f(ctx, t, x) })
	}
	run("tokens", tokensDecide)
	run("containerd", containerdLogsIn)
	run("CRI", criLogsIn)
	run("passwords", passwordsDecide)
	run("policy", aPolicyBeatsTheCache)
	run("realm", aRealmMayLeadAstray)
	run("origin down", theOriginIsDown)
	run("logs", nothingIsLeftBehind)
}

func openTenants(ctx context.Context, t *testing.T) *tenants {
	t.Helper()
	l, err := lab.Open(ctx, lab.Config{
		Shape: lab.Shape{Nodes: 3, NodeRate: stageRate, OriginRate: stageRate}, Programs: programs(t),
	})
	if err != nil {
		t.Fatalf("open lab: %v", err)
	}
	x := &tenants{Lab: l, images: make(map[string]lab.Image), linkLocalAddr: netip.MustParseAddr("169.254.7.7")}
	t.Cleanup(func() {
		for _, d := range x.nodes {
			if t.Failed() {
				t.Logf("log of %s:\n%s", d.Name, d.LogTail())
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	for _, step := range []func(context.Context) error{x.push, x.openOrigins, x.openNodes} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// push makes the images. "held" is what containerd holds, "cold" what nobody
// ever pulls.
func (x *tenants) push(ctx context.Context) error {
	for i, name := range []string{
		"team-a/app:v1", "team-b/app:v1", "pub/app:v1", "team-a/app:held", "team-b/app:held", "team-a/app:cold", "team-b/app:cold",
		"pub/app:cold", "team-a/app:gated",
	} {
		repository, tag, _ := strings.Cut(name, ":")
		img, err := x.Registry.Push(ctx, lab.ImageSpec{
			Repository: repository, Tag: tag, Size: tenantsSize, Layers: 2, Synthetic: true, Seed: uint64(100 + i),
		})
		if err != nil {
			return err
		}
		x.images[name] = img
	}
	return nil
}

func (x *tenants) openOrigins(ctx context.Context) (err error) {
	if x.tokens, err = x.StartTokenServer(ctx, lab.Alice(), lab.Bob()); err != nil {
		return err
	}
	if x.token, err = x.StartTokenRegistry(ctx, x.tokens); err != nil {
		return err
	}
	if x.basic, err = x.StartBasicRegistry(ctx, lab.Alice(), lab.Bob()); err != nil {
		return err
	}
	if x.harbor, err = x.StartWarden(ctx, x.token.Registry, harborPort); err != nil {
		return err
	}
	if x.sly, err = x.StartWarden(ctx, x.token.Registry, slyPort); err != nil {
		return err
	}
	x.sly.Mislead(x.tokens.Realm, x.slyRealm())
	return x.LinkLocal(ctx, x.linkLocalAddr)
}

func (x *tenants) openNodes(ctx context.Context) (err error) {
	if x.scheduler, err = x.StartTalkingScheduler(ctx); err != nil {
		return err
	}
	tokenAt := []string{x.tokens.Host()}
	for i := range x.Net.Nodes {
		s := lab.SecureNode{
			Registries: []map[string]any{
				{"host": tokenHost, "endpoint": x.token.Endpoint, "tokenHosts": tokenAt},
				{"host": harborHost, "endpoint": x.harbor.Endpoint, "tokenHosts": tokenAt},
				// private admits addresses of the operator's own network, and no others.
				{"host": slyHost, "endpoint": x.sly.Endpoint, "tokenHosts": []string{x.slyAt()}, "private": true},
				{"host": basicHost, "endpoint": x.basic.Endpoint, "tls": map[string]any{"caFile": x.basic.CAFile}},
				{"host": closedHost, "endpoint": x.basic.Endpoint, "tls": map[string]any{"caFile": x.basic.CAFile}},
			},
			Modes: map[string]string{basicHost: "basic"},
			Names: map[string]netip.Addr{slyName: x.Net.Origin.Addr},
		}
		switch i {
		case holder:
			s.Containerd = filepath.Join(x.Dir, x.Net.Nodes[i].Name, "containerd")
		case friend:
			s.Names[slyName] = x.linkLocalAddr
		}
		d, err := x.StartSecureNode(ctx, i, s)
		if err != nil {
			return err
		}
		x.nodes = append(x.nodes, d)
	}
	return (&lab.Swarm{Scheduler: x.scheduler, Nodes: x.nodes}).WaitConnected(ctx)
}
