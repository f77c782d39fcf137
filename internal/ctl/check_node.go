package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"

	"github.com/p2pd/p2pd/internal/api"
)

// mirrorName is what p2pd's mirror calls itself in the header Server.
const mirrorName = "p2pd"

// defaultMirror is where p2pd is asked unless it is configured otherwise.
const defaultMirror = "127.0.0.1:7300"

// defaultPorts are where it listens then.
func defaultPorts() []string {
	return []string{defaultMirror, "0.0.0.0:7301", "0.0.0.0:7302", "127.0.0.1:7303"}
}

// indent keeps the lines of a message below its check.
func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

func (k *checkup) nodeChecks() []check {
	return []check{
		{description: "p2pd answers", anchor: "p2pd-answers", fatal: true, look: k.nodeAnswers},
		{description: "p2pd and p2pctl are of one version", anchor: "versions", look: func(context.Context) (string, error) { return sameVersion("p2pd", k.node.Version) }},
		{description: "the mirror answers", anchor: "mirror-answers", always: true, look: k.mirrorAnswers},
		{description: "the store has room", anchor: "store-room", look: k.storeRoom},
		{description: "nothing that arrived was false", anchor: "false-content", look: k.falseContent},
	}
}

func (k *checkup) nodeAnswers(ctx context.Context) (string, error) {
	cl, err := k.cli.p2pd()
	if err != nil {
		return "", err
	}
	var st api.Status
	if err := cl.get(ctx, "/status", nil, &st); err != nil {
		return "", err
	}
	if st.Node == nil {
		return "", fmt.Errorf("what answers at %s is no p2pd; --node should name one", k.cli.node)
	}
	k.node = &st
	return st.Node.ID, nil
}

func sameVersion(who, theirs string) (string, error) {
	if own := version(); theirs != own {
		return "", warn("%s is %s, p2pctl %s: what one says the other may not understand", who, theirs, own)
	}
	return theirs, nil
}

// mirrorAnswers asks as containerd does first.
func (k *checkup) mirrorAnswers(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.mirror()+"/v2/", http.NoBody)
	if err != nil {
		return "", err
	}
	cl := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} //nolint:forbidigo // to this machine
	res, err := cl.Do(r)
	if err != nil && k.node == nil {
		return "", skip("p2pd does not answer, and no other program listens at %s", k.mirror())
	}
	if err != nil {
		return "", fmt.Errorf("the mirror at %s does not answer: %w", k.mirror(), root(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Server") != mirrorName {
		return "", fmt.Errorf("%s answers %s and is not p2pd (Server: %q): another program has p2pd's port, and p2pd cannot start there; stop that one (ss -ltnp names it), or choose another mirror.listen and run p2pd setup again",
			k.mirror(), res.Status, res.Header.Get("Server"))
	}
	return k.mirror(), nil
}

// mirror is where containerd has to ask; where p2pd would be if it does not
// answer.
func (k *checkup) mirror() string {
	if k.node != nil {
		return "http://" + nearest(k.node.Node.Mirror)
	}
	return "http://" + k.at
}

// nearest is where a node's own programs reach what listens at an IP:PORT: on
// loopback, if it listens on all addresses, as p2pd does in a pod.
func nearest(at string) string {
	a, err := netip.ParseAddrPort(at)
	if err != nil || !a.Addr().IsUnspecified() {
		return at
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
}

func (k *checkup) storeRoom(context.Context) (string, error) {
	n := k.node.Node
	switch {
	case n.CacheCapacity <= 0:
		return "", errors.New("the store may hold nothing: raise store.capacity, or free space on the disk")
	case n.DiskRoom != nil && *n.DiskRoom+n.CacheBytes <= 0:
		return "", errors.New("the store can keep nothing: its disk has less free space than store.keepFree reserves for others, so every blob goes past it and is shared with no other node. Free space there, name another disk in store.path, or lower store.keepFree")
	case n.NoRoom > 0:
		return "", warn("%d times a blob had no room in the store, of which %s of %s are used, and was not shared: raise store.capacity above the largest layer, or free space on its disk", n.NoRoom, bytesText(n.CacheBytes), bytesText(n.CacheCapacity))
	}
	return fmt.Sprintf("%s of %s are used; what was used longest ago makes room", bytesText(n.CacheBytes), bytesText(n.CacheCapacity)), nil
}

func (k *checkup) falseContent(context.Context) (string, error) {
	if n := k.node.Node; n.FalsePieces+n.FalseBlobs > 0 {
		return "", warn("%d pieces and %d blobs were not what their digests promise; none was passed on. A peer, the registry or this node's disk is at fault", n.FalsePieces, n.FalseBlobs)
	}
	return "", nil
}

func (k *checkup) schedulerChecks() []check {
	return []check{
		{description: "p2pd is connected to a scheduler", anchor: "scheduler-connected", fatal: true, look: k.isConnected},
		{description: "the scheduler answers here", anchor: "scheduler-answers", fatal: true, look: k.schedulerAnswers},
		{description: "the scheduler takes this peer", anchor: "peer-state", look: k.peerState},
	}
}

func (k *checkup) isConnected(context.Context) (string, error) {
	switch {
	case k.node == nil:
		return "", skip("p2pd does not answer")
	case k.node.Node.Scheduler == "":
		return "", skip("none is configured: peers find each other")
	case !k.node.Node.Connected:
		return "", warn("p2pd has no connection to the scheduler at %s, and peers find each other, at the price of some copies more from registries: %s",
			k.node.Node.Scheduler, cmp.Or(k.node.Node.SchedulerTrouble, "it still tries; can this node reach that address?"))
	}
	return k.node.Node.Scheduler, nil
}

// schedulerAnswers looks at the scheduler if it is on this machine.
func (k *checkup) schedulerAnswers(ctx context.Context) (string, error) {
	cl, err := k.cli.scheduler()
	if err != nil {
		return "", err
	}
	var st api.Status
	err = cl.get(ctx, "/status", nil, &st)
	if _, absent := errors.AsType[*unreachableError](err); absent && k.cli.server == defaultServer {
		return "", skip("it is not on this machine; --server would say where it is")
	}
	if err != nil {
		return "", err
	}
	if st.Scheduler == nil {
		return "", fmt.Errorf("what answers at %s is no scheduler", k.cli.server)
	}
	if _, err := sameVersion("the scheduler", st.Version); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d peers, %d swarms", st.Scheduler.Peers, st.Scheduler.Swarms), nil
}

func (k *checkup) peerState(ctx context.Context) (string, error) {
	cl, err := k.cli.scheduler()
	if err != nil {
		return "", err
	}
	var d api.PeerDetail
	if err := cl.get(ctx, "/peers/"+k.node.Node.ID, nil, &d); err != nil {
		return "", err
	}
	switch {
	case d.Ban != nil:
		return "", fmt.Errorf("this peer is banned until %s: %s", d.Ban.Until.Local().Format("15:04:05"), d.Ban.Reason)
	case d.Suspect != nil:
		return "", warn("%d peers blame this one for false bytes: is its disk sound? p2pctl cache verify reads it again", d.Suspect.Accusers)
	case d.Since == nil:
		return "", errors.New("this scheduler does not know this peer as connected: is p2pd connected to another one?")
	}
	return fmt.Sprintf("a member of %d swarms", d.Swarms), nil
}

func (k *checkup) preChecks() []check {
	return []check{{description: "p2pd's ports are free", anchor: "ports", look: func(context.Context) (string, error) { return portsFree(defaultPorts()) }}}
}

func portsFree(ports []string) (string, error) {
	var taken []string
	for _, at := range ports {
		l, err := net.Listen("tcp", at) //nolint:gosec // for a moment, as p2pd will
		if errors.Is(err, syscall.EADDRINUSE) {
			taken = append(taken, at)
			continue
		}
		if err != nil {
			return "", err
		}
		l.Close()
	}
	if len(taken) > 0 {
		return "", fmt.Errorf("other programs listen at %s: choose other ports in p2pd's configuration, or stop it", strings.Join(taken, ", "))
	}
	return strings.Join(ports, ", "), nil
}
