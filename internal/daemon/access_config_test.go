package daemon

import (
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/access"
)

func TestTheModeOfAHost(t *testing.T) {
	var c AccessConfig
	if err := c.Modes.Set("a.test=node, *.test=basic,*.open.test=open,b.test:5000=relay"); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Modes.String(), "*.open.test=open,*.test=basic,a.test=node,b.test:5000=relay"; got != want {
		t.Errorf("written as %s", got)
	}
	for host, want := range map[string]access.Mode{
		"a.test": access.ByNode, "x.test": access.Basic, "x.open.test": access.Open, "open.test": access.Basic,
		"b.test:5000": access.Relay, "a.test.example": access.Relay, "test": access.Relay, "docker.io": access.Relay,
	} {
		if got := c.mode(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if err := c.Modes.Set("a.test"); err == nil {
		t.Error("a host without a mode is taken")
	}
}

func TestAccessIsChecked(t *testing.T) {
	for _, tt := range []struct {
		edit func(*AccessConfig)
		want string
	}{
		{func(c *AccessConfig) { c.Modes = AccessModes{"a.test": "none"} }, "access.modes[a.test]"},
		{func(c *AccessConfig) { c.Modes = AccessModes{"https://a.test": "open"} }, "access.modes"},
		{func(c *AccessConfig) { c.OnOriginDown = "allow" }, "access.onOriginDown"},
		{func(c *AccessConfig) { c.Recent = 0 }, "access.recent"},
		{func(c *AccessConfig) { c.Recent = Duration(2 * access.MaxRecent) }, "access.recent"},
	} {
		c := DefaultNodeConfig()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		tt.edit(&c.Access)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", c.Access, err)
		}
	}
}
