package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// SecureNode is how a node's p2pd is set up for registries that want a login.
type SecureNode struct {
	// Registries and Modes are what the configuration has under these names.
	Registries []map[string]any
	Modes      map[string]string
	// Containerd is the folder of the containerd whose content is served;
	// empty: of none.
	Containerd string
	// Names resolve so for this node's p2pd, and no other name does.
	Names map[string]netip.Addr
}

// StartSecureNode starts p2pd on node i with all that it has to say in its log.
func (l *Lab) StartSecureNode(ctx context.Context, i int, s SecureNode) (*Daemon, error) {
	p := l.Net.Nodes[i]
	store, err := l.mkdir(filepath.Join(p.Name, "store"))
	if err != nil {
		return nil, err
	}
	program, err := l.resolving(p, l.Programs.P2PD, s.Names)
	if err != nil {
		return nil, err
	}
	containerd := map[string]any{"socket": ""}
	if s.Containerd != "" {
		containerd = map[string]any{"socket": filepath.Join(s.Containerd, "c.sock"), "root": filepath.Join(s.Containerd, "root")}
	}
	here := loopback(p)
	d := &Daemon{Place: p, http: here.At(httpPort)}
	return d, l.startDaemon(ctx, d, program, nil, map[string]any{
		"mirror":             map[string]any{"listen": here.At(mirrorPort)},
		"membership":         l.cluster.pass(),
		"peer":               map[string]any{"listen": p.At(peerPort), "bulkListen": p.At(bulkPort), "advertise": p.Addr.String()},
		"http":               map[string]any{"listen": d.http},
		"scheduler":          map[string]any{"address": l.Net.Scheduler.At(schedulerPort)},
		"store":              map[string]any{"path": store},
		"containerd":         containerd,
		"allowAllRegistries": false,
		"registries":         s.Registries,
		"access":             map[string]any{"modes": s.Modes},
		"log":                map[string]any{"level": "debug"},
	})
}

// StartTalkingScheduler starts the scheduler with all that it has to say in its
// log.
func (l *Lab) StartTalkingScheduler(ctx context.Context) (*Daemon, error) {
	p := l.Net.Scheduler
	d := &Daemon{Place: p, http: loopback(p).At(schedulerHTTPPort)}
	return d, l.startDaemon(ctx, d, l.Programs.Scheduler, nil, map[string]any{
		"listen": p.At(schedulerPort), "http": map[string]any{"listen": d.http}, "admin": map[string]any{"listen": ""}, "log": map[string]any{"level": "debug"},
		"membership": l.cluster.guard(),
	})
}

// resolving is a program of the same name that sees another /etc/hosts and no
// name server. The mount is in a namespace of its own, which ends with it.
func (l *Lab) resolving(p Place, program string, names map[string]netip.Addr) (string, error) {
	if len(names) == 0 {
		return program, nil
	}
	dir, err := l.mkdir(filepath.Join(p.Name, "names"))
	if err != nil {
		return "", err
	}
	text := "127.0.0.1 localhost\n"
	for name, addr := range names {
		text += addr.String() + " " + name + "\n"
	}
	hosts, resolv, script := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf"), filepath.Join(dir, filepath.Base(program))
	mounts := fmt.Sprintf("mount --bind %s /etc/hosts && mount --bind %s /etc/resolv.conf", hosts, resolv)
	for file, content := range map[string]string{
		hosts: text,
		// Nobody answers there, and nobody waits long for it.
		resolv: "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
		script: strings.Join([]string{"#!/bin/sh", "exec unshare --mount sh -c '" + mounts + ` && exec "$0" "$@"' ` + program + ` "$@"`, ""}, "\n"),
	} {
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			return "", fmt.Errorf("write %s: %w", filepath.Base(file), err)
		}
	}
	return script, nil
}

// LinkLocal gives the origin's place a link-local address that all nodes have a
// route to.
func (l *Lab) LinkLocal(ctx context.Context, addr netip.Addr) error {
	if _, err := run(ctx, "ip", "-n", l.Net.Origin.Netns, "addr", "add", addr.String()+"/32", "dev", "eth0"); err != nil {
		return err
	}
	for _, n := range l.Net.Nodes {
		if _, err := run(ctx, "ip", "-n", n.Netns, "route", "add", addr.String()+"/32", "dev", "eth0"); err != nil {
			return err
		}
	}
	return nil
}
