package egress

import (
	"net/netip"
	"testing"
)

func TestZones(t *testing.T) {
	for want, addrs := range map[zone][]string{
		public:    {"8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "100.128.0.1", "169.253.255.255", "172.32.0.1"},
		private:   {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1", "100.64.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "198.18.0.1", "fec0::1"},
		loopback:  {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "::7f00:1"},
		linkLocal: {"169.254.0.1", "169.254.169.253", "fe80::1", "fe80::1%eth0", "febf::1", "::ffff:169.254.1.1", "64:ff9b::a9fe:101"},
		nobody: {
			"0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1",
			"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "169.254.170.2",
			"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16",
		},
	} {
		for _, a := range addrs {
			if got := zoneOf(netip.MustParseAddr(a)); got != want {
				t.Errorf("%s is %s, want %s", a, got, want)
			}
		}
	}
	if got := zoneOf(netip.Addr{}); got != nobody {
		t.Errorf("no address is %s", got)
	}
}

// What each kind of Host may resolve to, besides what is public.
func TestGrants(t *testing.T) {
	const pub, priv, loop, link, meta = "8.8.8.8", "10.1.2.3", "127.0.0.1", "169.254.7.7", "169.254.169.254"
	all := []string{pub, priv, loop, link, meta, "::", "ff02::1"}
	for _, c := range []struct {
		name string
		host Host
		may  []string
	}{
		{"a name", Host{Host: "r.example"}, []string{pub}},
		{"a private name", Host{Host: "r.example", Private: true}, []string{pub, priv}},
		{"a private suffix", Host{Host: "*.example", Private: true}, []string{pub, priv}},
		{"a private address", Host{Host: priv + ":5000"}, []string{pub, priv}},
		{"another private address", Host{Host: "10.9.9.9"}, []string{pub}},
		{"loopback", Host{Host: loop + ":5000"}, []string{pub, loop}},
		{"loopback by its name", Host{Host: "LocalHost:5000"}, []string{pub, loop}},
		{"a name like it", Host{Host: "localhost.example"}, []string{pub}},
		{"link-local", Host{Host: link}, []string{pub, link}},
		{"IPv6", Host{Host: "[::ffff:10.1.2.3]:5000"}, []string{pub, priv}},
	} {
		g, err := c.host.grant()
		if err != nil {
			t.Fatal(err)
		}
		may := make(map[string]bool)
		for _, a := range c.may {
			may[a] = true
		}
		for _, a := range all {
			if got := g.admits(netip.MustParseAddr(a)); got != may[a] {
				t.Errorf("%s at %s: %v", c.name, a, got)
			}
		}
	}
	for _, h := range []string{meta, "0.0.0.0:80", "[::]", "224.0.0.1", "[fd00:ec2::254]:443"} {
		if (Host{Host: h}).Validate() == nil {
			t.Errorf("%s can be configured", h)
		}
	}
}

func TestHosts(t *testing.T) {
	var h Hosts[string]
	for _, p := range []string{"a.example", "A.example:5000", "*.example", "*.b.example", "*.c.example:5000", "[::1]:5000"} {
		if !h.Put(p, p) || h.Put(p, "again") {
			t.Errorf("%s is put twice, or not once", p)
		}
	}
	for host, want := range map[string]string{
		"a.example": "a.example", "A.EXAMPLE:5000": "A.example:5000", "x.example": "*.example", "x.b.example": "*.b.example",
		"y.x.b.example": "*.b.example", "b.example": "*.example", "x.c.example:5000": "*.c.example:5000", "x.c.example": "*.example",
		"[::1]:5000": "[::1]:5000",

		"example": "", ".example": "", "x.example:5000": "", "notexample": "", "x.example.evil": "", "c.example:5000": "", "": "",
	} {
		if got, ok := h.Get(host); got != want || ok != (want != "") {
			t.Errorf("%q has %q, want %q", host, got, want)
		}
	}
}

func TestHostPort(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"https", "A.b"}: "a.b:443", {"http", "a.b"}: "a.b:80", {"http", "a.b:443"}: "a.b:443",
		{"https", "[::1]"}: "[::1]:443", {"https", "[::1]:5000"}: "[::1]:5000", {"https", "*.b"}: "*.b:443",
	} {
		if got := HostPort(in[0], in[1]); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}
