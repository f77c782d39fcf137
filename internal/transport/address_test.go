package transport

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"
)

func texts(addrs []ma.Multiaddr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func TestListenAddrs(t *testing.T) {
	for in, want := range map[string][]string{
		"10.0.0.1:5081": {"/ip4/10.0.0.1/tcp/5081"},
		"[fd00::1]:0":   {"/ip6/fd00::1/tcp/0"},
		":5081":         {"/ip4/0.0.0.0/tcp/5081", "/ip6/::/tcp/5081"},
		"host:5081":     nil,
		"10.0.0.1":      nil,
		"10.0.0.1:http": nil,
		"10.0.0.1:":     nil,
	} {
		got, err := listenAddrs(in)
		if diff := cmp.Diff(want, texts(got)); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%s: %v (-want +got):\n%s", in, err, diff)
		}
	}
}

func TestDialAddrs(t *testing.T) {
	got := dialAddrs([]string{
		"/ip4/10.0.0.1/tcp/5081",
		"/ip4/10.0.0.1/tcp/5081/p2p/12D3KooWLbp4YgFsp2j7HrGLFwkVKfDbH8MWTVpZ1xNxWmNPeFcF",
		"/ip6/fd00::1/tcp/1",
		"/dns/node-1/tcp/1",
		"/ip4/0.0.0.0/tcp/1",
		"/ip4/10.0.0.1/udp/1/quic-v1",
		"/ip4/10.0.0.1/tcp/1/ws",
		"/unix/run/secret",
		"10.0.0.1:5081",
		"",
	})
	want := []string{"/ip4/10.0.0.1/tcp/5081", "/ip4/10.0.0.1/tcp/5081", "/ip6/fd00::1/tcp/1", "/dns/node-1/tcp/1"}
	if diff := cmp.Diff(want, texts(got)); diff != "" {
		t.Errorf("addresses differ (-want +got):\n%s", diff)
	}
}

func TestSelf(t *testing.T) {
	cfg := loopback(t)
	cfg.Zone, cfg.Rack = "z", "r"
	self := launch(t, cfg).Self()
	if self.Zone != "z" || self.Rack != "r" || len(self.Addrs) != 1 || !strings.HasPrefix(self.Addrs[0], "/ip4/127.0.0.1/tcp/") {
		t.Errorf("self is %+v", self)
	}
	for _, addr := range []string{self.Bulk, strings.Replace(strings.TrimPrefix(self.Addrs[0], "/ip4/"), "/tcp/", ":", 1)} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Errorf("nobody listens where self says: %v", err)
			continue
		}
		c.Close()
	}
}

func TestSelfIsAdvertised(t *testing.T) {
	for advertise, want := range map[string]string{
		"192.0.2.7":    "/ip4/192.0.2.7/tcp/",
		"node.example": "/dns/node.example/tcp/",
		"":             "/ip4/",
	} {
		cfg := loopback(t)
		cfg.Listen, cfg.Bulk, cfg.Advertise = "0.0.0.0:0", "0.0.0.0:0", advertise
		self := launch(t, cfg).Self()
		if len(self.Addrs) != 1 || !strings.HasPrefix(self.Addrs[0], want) || strings.Contains(self.Addrs[0], "0.0.0.0") || strings.HasSuffix(self.Addrs[0], "/0") {
			t.Errorf("advertise %q: addresses %v", advertise, self.Addrs)
		}
		if !strings.HasPrefix(self.Bulk, advertise) || strings.HasPrefix(self.Bulk, "0.0.0.0") {
			t.Errorf("advertise %q: bulk %s", advertise, self.Bulk)
		}
	}
}

func TestBadConfigs(t *testing.T) {
	taken := launch(t, loopback(t)).Self()
	for name, change := range map[string]func(*Config){
		"no key file": func(c *Config) { c.KeyFile = "" },
		"key in file": func(c *Config) { c.KeyFile = filepath.Join(newKeyFile(t), "key") },
		"long zone":   func(c *Config) { c.Zone = strings.Repeat("z", 300) },
		"bad listen":  func(c *Config) { c.Listen = "nowhere" },
		"bad bulk":    func(c *Config) { c.Bulk = "nowhere" },
		"taken bulk":  func(c *Config) { c.Bulk = taken.Bulk },
		"taken listen": func(c *Config) {
			c.Listen = strings.Replace(strings.TrimPrefix(taken.Addrs[0], "/ip4/"), "/tcp/", ":", 1)
		},
		"bad advertise": func(c *Config) { c.Advertise = "a/b" },
	} {
		cfg := loopback(t)
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
