package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// criLogsIn has CRI pull as a tenant, from p2pd alone. (The login is of the
// runtime's configuration: e2e/cripull brings none, as a kubelet would.)
func criLogsIn(ctx context.Context, t *testing.T, x *tenants) {
	modes, err := x.Programs.PullModes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := x.images["team-a/app:v1"], x.images["team-b/app:v1"]
	for _, mode := range modes {
		if mode.Ranges || strings.HasSuffix(mode.Name, "-transfer") { // pull by themselves, too, with a login
			continue
		}
		c, err := x.StartCRI(ctx, friend, mode.LoggedIn(strings.TrimPrefix(x.MirrorURL(friend), "http://"), lab.Alice()))
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{tokenHost, basicHost, closedHost} {
			if err := c.Hosts(host, x.MirrorURL(friend), ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			host  string
			image lab.Image
			may   bool
		}{
			{tokenHost, bob, false},
			{closedHost, alice, false},
			{tokenHost, alice, true},
			{basicHost, alice, true},
			{tokenHost, x.images["pub/app:v1"], true},
		} {
			err := c.PullReference(ctx, refer(tt.host, tt.image))
			if (err == nil) != tt.may || err != nil && !unauthorized(err) {
				t.Errorf("%s: alice pulls %s: %v", c.Mode.Name, refer(tt.host, tt.image), err)
			}
		}
		t.Logf("%s has pulled as alice", c.Mode.Name)
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}
}
