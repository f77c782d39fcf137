package e2e

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// secret is an image at the registry with passwords, where who has one may
// have everything: there are no rights by repository.
func (x *tenants) secret(tag string) target {
	basic := func(login string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(login)) }
	return target{
		host: basicHost, image: x.images["team-a/app:"+tag],
		valid: map[string]string{"alice's": lab.Alice().Basic(), "bob's": lab.Bob().Basic()},
		others: map[string]string{
			"no": "", "a wrong": basic("alice:" + wrongPassword), "a mixed-up": basic("alice:" + lab.Bob().Password),
			"a stranger's": basic("eve:" + wrongPassword), "an empty": basic("alice:"), "a foreign": "Bearer made.up.token",
		},
		elsewhere: []string{"team-b/app", "pub/app"},
	}
}

const wrongPassword = "not-her-password"

// passwordsDecide is the matrix for a registry that wants passwords.
func passwordsDecide(ctx context.Context, t *testing.T, x *tenants) {
	o := x.secret("v1")
	token, err := x.tokens.Mint("alice", time.Hour, "team-a/app")
	if err != nil {
		t.Fatal(err)
	}
	o.others["another registry's"] = "Bearer " + token
	// The content has long been here, by the other registry: that is no right.
	first := x.refusals(ctx, t, puller, o)
	const want = `Basic realm="lab"`
	if got := first["no: GET "+everything(o.image)[0]]; got.Status != http.StatusUnauthorized || got.Challenge != want {
		t.Errorf("whoever shows nothing is told %+v, want the challenge %s", got, want)
	}
	x.pulls(ctx, t, puller, o)
	same(t, "proved by others", first, x.refusals(ctx, t, puller, o))
	x.givesNothing(ctx, t, x.basic, func() {
		same(t, "on a peer", first, x.refusals(ctx, t, friend, o))
		x.pulls(ctx, t, friend, o)
	})

	// What really is cold.
	o = x.secret("cold")
	x.givesNothing(ctx, t, x.basic, func() { x.refusals(ctx, t, puller, o) })
	tally := reads(ctx, t, x.basic, func() { x.pulls(ctx, t, puller, o) })
	if tally.BlobBytes < o.image.Bytes || tally.BlobBytes > o.image.Bytes*11/10 {
		t.Errorf("the registry gave %d bytes for an image of %d", tally.BlobBytes, o.image.Bytes)
	}

	// Where the operator has not chosen so, nobody is asked for a password, and
	// one that is shown all the same counts for nothing.
	o = at(closedHost, x.secret("v1"))
	for who, login := range o.valid {
		o.others[who] = login
	}
	for asked, got := range x.refusals(ctx, t, puller, o) {
		if strings.Contains(got.Challenge, "Basic") {
			t.Errorf("%s: asked for a password: %+v", asked, got)
		}
	}
}
