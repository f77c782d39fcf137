package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// aPolicyBeatsTheCache has the origin withhold an image that nodes hold.
func aPolicyBeatsTheCache(ctx context.Context, t *testing.T, x *tenants) {
	o := at(harborHost, x.private(t, lab.Alice(), lab.Bob(), "gated"))
	x.pulls(ctx, t, puller, o)
	x.harbor.Withhold(o.image.Repository)
	// By the tag first, as containerd does: the very token that was good
	// before. And new ones, by digest alone, which nobody has asked about.
	x.withheld(ctx, t, puller, o, everything(o.image))
	for _, i := range []int{puller, friend} {
		again := at(harborHost, x.private(t, lab.Alice(), lab.Bob(), "gated"))
		x.withheld(ctx, t, i, again, byDigest(o.image, o.image.Repository))
	}
	log, err := os.ReadFile(x.nodes[puller].Log)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte(lab.WardenMessage)) {
		t.Error("the reason is not in the log")
	}

	// containerd gets it neither from p2pd nor from the origin, and says why.
	if err := x.holding.Hosts(harborHost, x.MirrorURL(holder), ""); err != nil {
		t.Fatal(err)
	}
	if err := x.holding.FetchAs(ctx, lab.Alice().Login(), refer(harborHost, o.image)); err == nil || !strings.Contains(err.Error(), "412") {
		t.Errorf("containerd, of an image that is withheld: %v", err)
	}

	x.harbor.Withhold("")
	x.pulls(ctx, t, puller, at(harborHost, x.private(t, lab.Alice(), lab.Bob(), "gated")))
	if err := x.holding.FetchAs(ctx, lab.Alice().Login(), refer(harborHost, o.image)); err != nil {
		t.Errorf("containerd, of an image that is withheld no more: %v", err)
	}
}

// withheld fails the test unless node i refuses the image's manifests with what
// the origin says, even to who has the right to it. Blobs are not the policy's
// business, no more than they are Harbor's; but they are given only if the
// origin has just said of each that this client may have it.
func (x *tenants) withheld(ctx context.Context, t *testing.T, i int, o target, paths []string) {
	t.Helper()
	given := 0
	tally := reads(ctx, t, x.token, func() {
		for _, authorization := range o.valid {
			for _, path := range paths {
				got := x.ask(ctx, t, i, http.MethodGet, o.host, path, authorization)
				if !strings.Contains(path, "/manifests/") {
					if got.Status == http.StatusOK {
						given++
					}
					continue
				}
				if got.Status != http.StatusPreconditionFailed || !strings.Contains(got.Body, lab.WardenMessage) {
					t.Errorf("%s: GET %s: %+v", x.nodes[i].Name, path, got)
				}
				if got := x.ask(ctx, t, i, http.MethodHead, o.host, path, authorization); got.Status != http.StatusPreconditionFailed {
					t.Errorf("%s: HEAD %s: %+v", x.nodes[i].Name, path, got)
				}
			}
		}
	})
	if asked := tally.Requests[lab.BlobHead]; asked < given {
		t.Errorf("%s: %d blobs were given, and the origin was asked about %d", x.nodes[i].Name, given, asked)
	}
}

func (x *tenants) slyAt() string {
	_, port, _ := strings.Cut(x.tokens.Host(), ":")
	return slyName + ":" + port
}

func (x *tenants) slyRealm() string { return "http://" + x.slyAt() + "/token" }

// aRealmMayLeadAstray has a registry name a token server whose name is allowed,
// but which resolves to a link-local address on one node.
func aRealmMayLeadAstray(ctx context.Context, t *testing.T, x *tenants) {
	mine, public := x.images["team-a/app:v1"], x.images["pub/app:v1"]
	tag := everything(mine)[0]
	got := x.ask(ctx, t, puller, http.MethodGet, slyHost, tag, "")
	if got.Status != http.StatusUnauthorized || !strings.Contains(got.Challenge, x.slyRealm()) {
		t.Errorf("where it resolves to the operator's network: %+v", got)
	}
	if got := x.ask(ctx, t, puller, http.MethodGet, slyHost, everything(public)[0], ""); got.Status != http.StatusOK {
		t.Errorf("where it resolves to the operator's network, what is public: %+v", got)
	}
	// A client that can do without the realm is not refused for it.
	x.pulls(ctx, t, friend, at(slyHost, x.private(t, lab.Alice(), lab.Bob(), "v1")))
	x.knock(ctx, t, 1)
	// Neither does p2pd fetch a token there in nobody's name, nor does it send a
	// client whose own token is no good.
	for who, authorization := range map[string]string{"a made-up": "Bearer made.up.token", "no": ""} {
		for _, path := range append(everything(mine), everything(public)...) {
			got := x.ask(ctx, t, friend, http.MethodGet, slyHost, path, authorization)
			if got.Status < 400 || got.Challenge != "" {
				t.Errorf("where it is link-local, with %s credential, %s: %+v", who, path, got)
			}
		}
	}
	// Connections are counted in the order in which they come.
	x.knock(ctx, t, 2)
	log, err := os.ReadFile(x.nodes[friend].Log)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte("is at "+x.linkLocalAddr.String()+", which is link-local")) {
		t.Error("the reason is not in the log")
	}
}

// knock connects to the link-local address as a node's p2pd could, and fails
// the test unless this makes so many connections since the beginning: somebody
// is there, so that nothing but p2pd keeps it and its clients away.
func (x *tenants) knock(ctx context.Context, t *testing.T, want int) {
	t.Helper()
	_, port, _ := strings.Cut(x.tokens.Host(), ":")
	conn, err := x.Net.Nodes[friend].Dial(ctx, "tcp", net.JoinHostPort(x.linkLocalAddr.String(), port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = x.nodes[friend].WaitReady(ctx, func(context.Context) error {
		if now := x.tokens.LinkLocal(); now < want {
			return fmt.Errorf("%d connections, want %d", now, want)
		}
		return nil
	})
	if now := x.tokens.LinkLocal(); err != nil || now != want {
		t.Errorf("%d connections to the link-local address, want our own %d; %v", now, want, err)
	}
}

// nothingIsLeftBehind looks for credentials where none may be: in what the
// daemons logged, and in what they stored.
func nothingIsLeftBehind(_ context.Context, t *testing.T, x *tenants) {
	words := []string{wrongPassword}
	for _, who := range []lab.Tenant{lab.Alice(), lab.Bob()} {
		words = append(words, who.Password, strings.TrimPrefix(who.Basic(), "Basic "))
	}
	for _, token := range x.tokens.Issued() {
		parts := strings.Split(token, ".")
		words = append(words, parts[1], parts[2])
	}
	files, err := filepath.Glob(filepath.Join(x.Dir, "*-p2pd.log"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, x.scheduler.Log)
	if len(files) != len(x.nodes)+1 {
		t.Fatalf("logs: %v", files)
	}
	for _, n := range x.Net.Nodes {
		err := filepath.WalkDir(filepath.Join(x.Dir, n.Name, "store"), func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Size() < int64(tenantsSize)/4 { // more is a layer's, of random bytes
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		total += len(content)
		for _, word := range words {
			if i := bytes.Index(content, []byte(word)); i >= 0 {
				t.Errorf("%s has a credential, after %q", filepath.Base(file), content[max(0, i-100):i])
				break // one a file tells enough
			}
		}
	}
	t.Logf("%d credentials are in none of %d files of %d bytes", len(words), len(files), total)
}
