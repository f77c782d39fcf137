package discovery

import (
	"bytes"
	"testing"
)

// Whatever a peer tells of itself is refused or within bounds.
func FuzzCard(f *testing.F) {
	for _, s := range []string{
		`{"addrs":["/ip4/10.0.0.7/tcp/7301"],"bulk":"10.0.0.7:7302","zone":"a","rack":"r1"}`,
		`{"addrs":["/dns/n1.example/tcp/7301"],"bulk":"n1.example:7302"}`,
		`{"addrs":["/ip4/10.0.0.7/udp/7301/quic-v1"],"bulk":"10.0.0.7:7302"}`,
		`{"addrs":["/ip4/0.0.0.0/tcp/1"],"bulk":":1"}`,
		`{"bulk":"[fd00::1]:7302"}`, `{}`, ``, `[]`, `{"addrs":[""]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCard(b)
		if err != nil {
			return
		}
		p := c.peer("someone")
		if len(p.Addrs) > maxAddrs || len(p.Bulk) > maxName || len(p.Zone) > maxName || len(p.Rack) > maxName {
			t.Errorf("card is out of bounds: %+v", p)
		}
	})
}

// Whatever is in the file of known peers, what is read of it is within bounds,
// and reads the same once it was written.
func FuzzKnown(f *testing.F) {
	const a, b = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X", "12D3KooWH3uVF6wv47WnArKHk5p6cvgCJEb74UTmxztmQDc298L3"
	for _, s := range []string{
		"", "\n\n", "garbage",
		"/ip4/10.0.0.7/tcp/7301/p2p/" + a + "\n/ip6/fd00::7/tcp/7301/p2p/" + a + "\n/dns/n2/tcp/1/p2p/" + b + "\n",
		"/ip4/10.0.0.7/udp/7301/quic-v1/p2p/" + a,
		"/ip4/10.0.0.7/tcp/7301/p2p/" + a + "/p2p-circuit/p2p/" + b,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		infos := parseKnown(content)
		if len(infos) > maxKnown {
			t.Errorf("%d peers", len(infos))
		}
		for _, i := range infos {
			if len(i.Addrs) == 0 || len(i.Addrs) > maxAddrs || len(tcpOnly(i.Addrs)) != len(i.Addrs) {
				t.Errorf("peer with addresses %v", i.Addrs)
			}
		}
		written := formatKnown(infos)
		if again := formatKnown(parseKnown(written)); !bytes.Equal(again, written) {
			t.Errorf("written %q, and again %q", written, again)
		}
	})
}

// Whatever stands in the configuration is refused or leads somewhere.
func FuzzBootstrap(f *testing.F) {
	for _, s := range []string{"a:1", "[::1]:7301", "/ip4/1.2.3.4/tcp/1", "/dns/a/tcp/1/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X", "a:b:c", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := parseBootstrapper(s)
		if err == nil && (b.info == nil) == (b.host == "") {
			t.Errorf("%q gives %+v", s, b)
		}
	})
}
