package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// containerdLogsIn has real ones pull with logins, and puts one node's content
// store behind its p2pd.
func containerdLogsIn(ctx context.Context, t *testing.T, x *tenants) {
	system, err := lab.SystemRuntime(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range map[int]lab.Runtime{holder: newest(ctx, t), friend: system} {
		c, err := x.StartContainerd(ctx, i, r, lab.Direct)
		if err != nil {
			t.Fatal(err)
		}
		if i == holder {
			x.holding = c
			contentDecides(ctx, t, x)
		}
		x.clientsDecide(ctx, t, i, c, r)
		if i == holder {
			x.guesses(ctx, t, c, r)
		}
	}
}

// contentDecides is the matrix for what containerd alone holds: pulled past
// p2pd, with the tenants' own logins.
func contentDecides(ctx context.Context, t *testing.T, x *tenants) {
	if err := x.holding.Hosts(tokenHost, x.token.Endpoint, ""); err != nil {
		t.Fatal(err)
	}
	blobs := 0.0
	for _, who := range []lab.Tenant{lab.Alice(), lab.Bob()} {
		img := x.images[who.Owns+"app:held"]
		if err := x.holding.FetchAs(ctx, who.Login(), refer(tokenHost, img)); err != nil {
			t.Fatal(err)
		}
		blobs += float64(len(img.Blobs) + 1)
	}
	x.await(ctx, t, holder, containerdBlobs, blobs)
	before := x.stored(ctx, t, holder)
	for _, o := range []target{x.private(t, lab.Alice(), lab.Bob(), "held"), x.private(t, lab.Bob(), lab.Alice(), "held")} {
		x.givesNothing(ctx, t, x.token, func() {
			said := x.refusals(ctx, t, holder, o)
			x.pulls(ctx, t, holder, o)
			same(t, "in containerd", said, x.refusals(ctx, t, holder, o))
			same(t, "in a peer's containerd", said, x.refusals(ctx, t, friend, o))
			x.pulls(ctx, t, friend, o)
		})
	}
	if after := x.stored(ctx, t, holder); after != before {
		t.Errorf("the node copied %.0f bytes that its containerd holds", after-before)
	}
}

// clientsDecide is the matrix as containerd sees it, with p2pd for all there
// is: what p2pd refuses, it does not get.
func (x *tenants) clientsDecide(ctx context.Context, t *testing.T, i int, c *lab.Containerd, r lab.Runtime) {
	t.Helper()
	for _, host := range []string{tokenHost, basicHost, closedHost} {
		if err := c.Hosts(host, x.MirrorURL(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	alice, bob := lab.Alice(), lab.Bob()
	mine, public := x.images["team-a/app:v1"], x.images["pub/app:v1"]
	for _, tt := range []struct {
		name, login, host string
		image             lab.Image
		may               bool
	}{
		{"no login", "", tokenHost, mine, false},
		{"a wrong password", "alice:" + wrongPassword, tokenHost, mine, false},
		{"another tenant", bob.Login(), tokenHost, mine, false},
		{"no login, by passwords", "", basicHost, mine, false},
		{"a wrong password, by passwords", "alice:" + wrongPassword, basicHost, mine, false},
		{"a password that is not asked for", alice.Login(), closedHost, mine, false},
		{"the owner", alice.Login(), tokenHost, mine, true},
		{"the owner, by passwords", alice.Login(), basicHost, mine, true},
		{"another tenant once it is there", bob.Login(), tokenHost, mine, false},
		{"public, no login", "", tokenHost, public, true},
		{"public, with a login", bob.Login(), tokenHost, public, true},
	} {
		for way, get := range map[string]func(context.Context, string, string) error{"fetch": c.FetchAs, "pull": c.PullAs} {
			err := get(ctx, tt.login, refer(tt.host, tt.image))
			if (err == nil) != tt.may || err != nil && !unauthorized(err) {
				t.Errorf("containerd %s, %s, %s: %v", r.Version, way, tt.name, err)
			}
		}
	}
}

// unauthorized reports whether containerd was asked for what it does not have.
func unauthorized(err error) bool {
	return strings.Contains(err.Error(), "401 Unauthorized") || strings.Contains(err.Error(), "no basic auth credentials")
}

// guesses reads blobs by digests that a client should not know, in
// repositories that it may pull from. (1.6 has no client for that.)
func (x *tenants) guesses(ctx context.Context, t *testing.T, c *lab.Containerd, r lab.Runtime) {
	t.Helper()
	alice, bob := lab.Alice(), lab.Bob()
	mine, theirs, public := x.images["team-a/app:v1"], x.images["team-b/app:v1"], x.images["pub/app:v1"]
	layer := mine.Blobs[1]
	for name, login := range map[string]string{"bob": bob.Login(), "nobody": ""} {
		for _, in := range []lab.Image{mine, theirs, public} {
			if out, err := c.FetchBlobAs(ctx, login, refer(tokenHost, in), layer.Digest); err == nil {
				t.Errorf("containerd %s: %s got %d bytes of a layer in %s", r.Version, name, len(out), in.Repository)
			}
		}
	}
	if out, err := c.FetchBlobAs(ctx, alice.Login(), refer(tokenHost, public), layer.Digest); err == nil {
		t.Errorf("containerd %s: alice got %d bytes of her layer under a public name", r.Version, len(out))
	}
	out, err := c.FetchBlobAs(ctx, alice.Login(), refer(tokenHost, mine), layer.Digest)
	if err != nil || int64(len(out)) != layer.Bytes {
		t.Errorf("containerd %s: alice got %d of %d bytes of her layer: %v", r.Version, len(out), layer.Bytes, err)
	}
}

// refer names an image at one of the test's registries.
func refer(host string, i lab.Image) string { return host + "/" + i.Repository + ":" + i.Tag }
