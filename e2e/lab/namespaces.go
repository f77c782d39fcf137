package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// queue shapes a link: the rate, 128 KiB of burst (10 ms at 100 Mbit/s, and
// more than one GSO segment), and at most 50 ms of queue, as a switch has.
var queue = []string{"burst", "128kb", "latency", "50ms"}

// protocol is the same TCP on every machine, and one that costs the shaper
// little: it handles segments, and with the default of two packets each, those
// of slow connections would take as much CPU as the daemons do. Congestion
// control is one that every namespace may set.
var protocol = []string{"net.ipv4.tcp_congestion_control=reno", "net.ipv4.tcp_min_tso_segs=16"}

// newNamespaces makes one network namespace a place and one with a bridge
// between them; the machine's own network is not touched. Namespaces are named
// PREFIX-PLACE.
func newNamespaces(ctx context.Context, prefix string, shape Shape) (_ *Network, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	for _, tool := range []string{"ip", "tc", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("network namespaces need %s (packages iproute2 and util-linux): %w", tool, err)
		}
	}
	n := &Network{Shape: shape, Shaped: true}
	n.layout(10, 77, func(name string) string { return prefix + "-" + name })
	b := &builder{ctx: ctx, hub: prefix + "-hub"}
	n.close = b.close
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	b.bridge()
	b.attach(n.Origin, shape.OriginRate)
	b.attach(n.Scheduler, 0)
	for i, node := range n.Nodes {
		b.attach(node, shape.rateOf(i))
	}
	b.introduce(append([]Place{n.Origin, n.Scheduler}, n.Nodes...))
	return n, b.err
}

// builder runs ip and tc until one fails.
type builder struct {
	ctx  context.Context //nolint:containedctx // lives for one newNamespaces
	hub  string          // the namespace with the bridge
	made []string
	err  error
}

func (b *builder) ip(args ...string) { b.do("ip", args...) }

func (b *builder) do(name string, args ...string) {
	if b.err == nil {
		_, b.err = run(b.ctx, name, args...)
	}
}

func (b *builder) namespace(name string) {
	b.ip("netns", "add", name)
	if b.err == nil {
		b.made = append(b.made, name)
	}
	b.ip("-n", name, "link", "set", "lo", "up")
	b.do("nsenter", append([]string{"--net=/run/netns/" + name, "sysctl", "-qw"}, protocol...)...)
}

func (b *builder) bridge() {
	b.namespace(b.hub)
	b.ip("-n", b.hub, "link", "add", "br0", "type", "bridge")
	b.ip("-n", b.hub, "link", "set", "br0", "up")
}

// attach makes a place and its link to the bridge, shaped at both ends: the
// end at the place holds what it sends, the end at the bridge what it gets.
func (b *builder) attach(p Place, rate Rate) {
	b.namespace(p.Netns)
	b.ip("-n", b.hub, "link", "add", p.Name, "type", "veth", "peer", "name", "eth0", "address", hardware(p), "netns", p.Netns)
	b.ip("-n", b.hub, "link", "set", p.Name, "master", "br0", "up")
	b.ip("-n", p.Netns, "addr", "add", p.Addr.String()+"/16", "dev", "eth0")
	b.ip("-n", p.Netns, "link", "set", "eth0", "up")
	if rate > 0 {
		b.shape(p.Netns, "eth0", rate)
		b.shape(b.hub, p.Name, rate)
	}
}

// introduce tells all places each other's hardware addresses. What they would have
// to ask for counts against the kernel's table of neighbours, of which all namespaces
// together have one: at 1,024 entries, as is usual, 32 places do not reach each other.
func (b *builder) introduce(places []Place) {
	for _, p := range places {
		if b.err != nil {
			return
		}
		var entries strings.Builder
		for _, o := range places {
			if o.Netns != p.Netns {
				fmt.Fprintf(&entries, "neigh replace %s lladdr %s dev eth0 nud permanent\n", o.Addr, hardware(o))
			}
		}
		batch := exec.CommandContext(b.ctx, "ip", "-n", p.Netns, "-batch", "-")
		batch.Stdin = strings.NewReader(entries.String())
		_, b.err = output(batch)
	}
}

// hardware is a place's link address, of those that nobody has bought.
func hardware(p Place) string {
	a := p.Addr.As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3])
}

func (b *builder) shape(netns, device string, rate Rate) {
	b.do("tc", append([]string{"-n", netns, "qdisc", "add", "dev", device, "root", "tbf", "rate", fmt.Sprintf("%dbit", rate)}, queue...)...)
}

func (b *builder) close(ctx context.Context) error {
	var errs []error
	for _, name := range b.made {
		// Whoever started a process has stopped it by now; a container's shim
		// that lost its runtime is still there.
		errs = append(errs, killNamespace(ctx, name))
		if _, err := run(ctx, "ip", "netns", "del", name); err != nil {
			errs = append(errs, err)
		}
	}
	b.made = nil
	return errors.Join(errs...)
}
