package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// private is a tenant's image at the registry with tokens, and all kinds of
// credentials.
func (x *tenants) private(t *testing.T, who, other lab.Tenant, tag string) target {
	t.Helper()
	mine, theirs := who.Owns+"app", other.Owns+"app"
	token := func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + s
	}
	return target{
		host: tokenHost, image: x.images[mine+":"+tag],
		valid: map[string]string{who.Name + "'s": token(x.tokens.Mint(who.Name, time.Hour, mine))},
		others: map[string]string{
			"no": "", "a made-up": "Bearer made.up.token", "a forged": token(x.tokens.Forge(who.Name, mine)),
			"an expired":           token(x.tokens.Mint(who.Name, -time.Hour, mine)),
			"another repository's": token(x.tokens.Mint(other.Name, time.Hour, theirs)),
			"a public":             token(x.tokens.Mint("", time.Hour, "pub/app")),
			"a worthless":          token(x.tokens.Mint(who.Name, time.Hour)),
			// In this mode nobody is asked for it, and it is not shown to anybody.
			"a password": who.Basic(),
		},
		elsewhere: []string{theirs, "pub/app", "team-a/nothing"},
	}
}

func (x *tenants) public(tag string) target {
	return target{
		host: tokenHost, image: x.images["pub/app:"+tag],
		valid: map[string]string{"no": "", "a stale": "Bearer made.up.token"}, elsewhere: []string{"team-a/app"},
	}
}

// tokensDecide is the matrix: who asks, by where the content is.
func tokensDecide(ctx context.Context, t *testing.T, x *tenants) {
	// What is public may be known to be: that tells nothing of what is not.
	for i := range x.nodes {
		x.pulls(ctx, t, i, x.public("v1"), everything(x.public("v1").image)[0])
	}
	kept := x.public("v1").image.Manifest
	for _, o := range []target{x.private(t, lab.Alice(), lab.Bob(), "v1"), x.private(t, lab.Bob(), lab.Alice(), "v1")} {
		x.await(ctx, t, puller, storeWhole, float64(kept))
		var cold map[string]told
		x.givesNothing(ctx, t, x.token, func() { cold = x.refusals(ctx, t, puller, o) })
		if now := x.stored(ctx, t, puller); now != float64(kept) {
			t.Errorf("for those without a right the node fetched %.0f bytes", now-float64(kept))
		}
		x.pulls(ctx, t, puller, o)
		kept += o.image.Bytes + o.image.Manifest
		same(t, "on this node", cold, x.refusals(ctx, t, puller, o))
		x.givesNothing(ctx, t, x.token, func() {
			same(t, "on a peer", cold, x.refusals(ctx, t, friend, o))
			x.pulls(ctx, t, friend, o)
			same(t, "here, from a peer", cold, x.refusals(ctx, t, friend, o))
		})
	}
	x.pulls(ctx, t, puller, x.public("v1"))
	x.refusals(ctx, t, puller, x.public("v1"))
	x.givesNothing(ctx, t, x.token, func() { x.pulls(ctx, t, friend, x.public("v1")) })
}

// theOriginIsDown ends the registries, and asks again.
func theOriginIsDown(ctx context.Context, t *testing.T, x *tenants) {
	mine := x.private(t, lab.Alice(), lab.Bob(), "v1")
	for _, i := range []int{puller, friend} {
		x.pulls(ctx, t, i, mine)
		x.pulls(ctx, t, i, x.public("v1"))
	}
	held := x.private(t, lab.Bob(), lab.Alice(), "held")
	x.pulls(ctx, t, holder, held)
	secret := x.secret("v1")
	x.pulls(ctx, t, puller, secret)
	for _, r := range []*lab.SecureRegistry{x.token, x.basic} {
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	cold := x.private(t, lab.Alice(), lab.Bob(), "cold")
	// An unproven right is none while nobody can be asked.
	cold.others["the owner's"] = cold.valid["alice's"]
	unproven := x.private(t, lab.Alice(), lab.Bob(), "v1")
	unproven.others["the owner's new"] = unproven.valid["alice's"]
	for i := range x.nodes {
		for _, o := range []target{mine, held, cold, unproven, secret} {
			x.refusals(ctx, t, i, o)
		}
	}
	// What was proved a moment ago still holds, and what is public.
	for _, i := range []int{puller, friend} {
		x.pulls(ctx, t, i, mine, byDigest(mine.image, mine.image.Repository)...)
		public := x.public("v1")
		x.pulls(ctx, t, i, public, byDigest(public.image, public.image.Repository)...)
	}
	x.pulls(ctx, t, holder, held, byDigest(held.image, held.image.Repository)...)
	x.pulls(ctx, t, puller, secret, byDigest(secret.image, secret.image.Repository)...)
}
