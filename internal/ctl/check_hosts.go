package ctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/cri"
	"github.com/p2pd/p2pd/internal/setup"
)

func (k *checkup) containerdChecks() []check {
	return []check{
		{description: "containerd reads hosts.toml files", anchor: "config-path", fatal: true, look: func(ctx context.Context) (string, error) {
			_, err := k.hosts(ctx)
			return "", err
		}},
		{description: "containerd was started after its configuration was changed", anchor: "config-loaded", look: k.loaded},
		{description: "containerd asks p2pd", anchor: "hosts-toml", look: k.asked},
	}
}

// hosts are the registries that containerd's configuration names.
func (k *checkup) hosts(ctx context.Context) ([]setup.Entry, error) {
	c := k.files
	c.Files, c.Mirror = setup.Disk{}, k.mirror()
	return setup.Status(ctx, c)
}

// changedWithin is how much later than containerd's start its configuration may have
// been written and still have been read: what clocks of files and processes differ by.
const changedWithin = 200 * time.Millisecond

// loaded looks whether the running containerd can have read what its configuration says:
// it does once, when it is started, and nothing of what it has read of registries can
// be asked for over CRI.
func (k *checkup) loaded(context.Context) (string, error) {
	if _, err := os.Stat(k.criSocket); err != nil {
		return "", skip("nobody listens at %s (--cri-socket)", k.criSocket)
	}
	started, known, err := cri.Started(k.criSocket)
	if err != nil {
		return "", fmt.Errorf("who listens at %s: %w", k.criSocket, err)
	}
	if !known {
		return "", skip("who listens at %s cannot be seen from here: from another PID namespace, or another system", k.criSocket)
	}
	c := k.files
	c.Files = setup.Disk{}
	names, err := setup.ContainerdFiles(c)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.ModTime().Sub(started) > changedWithin {
			return "", warn("%s was changed %s after containerd was started (%s), which reads it only then: what it says now has no effect until containerd is restarted", name, info.ModTime().Sub(started).Round(time.Second), started.Format(time.DateTime))
		}
	}
	return "", nil
}

// asked looks at the registry of --image, which must go through p2pd, or at all
// of them.
func (k *checkup) asked(ctx context.Context) (string, error) {
	if !k.installed {
		return "", skip("p2pd is not installed yet; p2pd setup will see to it")
	}
	entries, err := k.hosts(ctx)
	if err != nil {
		return "", err
	}
	var about []string
	for i := range entries {
		about = append(about, k.effect(ctx, &entries[i]))
	}
	if k.ref != nil {
		return k.askedFor(originHost(k.ref.Context().RegistryStr()), entries, about)
	}
	var yes, no, but []string
	for i, e := range entries {
		switch {
		case e.State != setup.StateOther:
			yes = append(yes, e.Registry)
			if about[i] != "" {
				but = append(but, e.File+" "+about[i])
			}
		case e.Registry != setup.AllRegistries || len(entries) == 1:
			no = append(no, e.Registry+" ("+e.Note+")")
		}
	}
	switch {
	case len(yes) == 0:
		return "", fmt.Errorf("no hosts.toml names p2pd's mirror at %s, so that containerd goes to registries itself (%s): run p2pd setup on this node", k.mirror(), entries[0].File+" "+entries[0].Note)
	case len(no) > 0:
		return "", warn("p2pd is asked for %s, but not for %s: p2pd setup --existing sets those up too", strings.Join(yes, ", "), strings.Join(no, ", "))
	case len(but) > 0:
		return "", warn("%s", strings.Join(but, "; "))
	}
	return "for " + strings.Join(yes, ", "), nil
}

// askedFor looks at one registry: at its own folder, which hides the one of all
// registries, or at that. about says of each entry what else is wrong with it.
func (k *checkup) askedFor(registry string, entries []setup.Entry, about []string) (string, error) {
	at := 0 // the first is of all registries
	for i, e := range entries {
		if e.Registry == registry {
			at = i
		}
	}
	e := entries[at]
	switch {
	case e.State == setup.StateOther && at > 0:
		return "", fmt.Errorf("containerd does not ask p2pd for %s: %s %s; p2pd setup --registry %s puts p2pd's lines into it", registry, e.File, e.Note, registry)
	case e.State == setup.StateOther:
		return "", fmt.Errorf("containerd does not ask p2pd for %s: %s %s, and the registry has no folder of its own; run p2pd setup on this node", registry, e.File, e.Note)
	case about[at] != "":
		return "", fmt.Errorf("%s %s", e.File, about[at])
	}
	return fmt.Sprintf("for %s, by %s", registry, e.File), nil
}

// effect is what keeps a file that names p2pd from its effect; empty: nothing.
func (k *checkup) effect(ctx context.Context, e *setup.Entry) string {
	if e.State == setup.StateOther {
		return ""
	}
	if e.Since != "" {
		has := k.containerdVersion(ctx)
		switch {
		case has == "":
			return fmt.Sprintf("has a capability that containerd knows since %s; an older one ignores the whole file, and the version of this node's could not be read at %s (--cri-socket)", e.Since, k.criSocket)
		case older(has, e.Since):
			return fmt.Sprintf("has a capability that containerd knows since %s, and this node's %s ignores the whole file: take the capability out (\"referrers\"), or update containerd", e.Since, has)
		}
	}
	return e.Note
}

// containerdVersion is that of the runtime that answers over CRI; empty: nobody
// does, or it is no containerd.
func (k *checkup) containerdVersion(ctx context.Context) string {
	if _, err := os.Stat(k.criSocket); err != nil {
		return ""
	}
	r, err := cri.Dial(k.criSocket)
	if err != nil {
		return ""
	}
	defer r.Close()
	text, err := r.Version(ctx)
	if err != nil {
		return ""
	}
	version, is := strings.CutPrefix(text, "containerd ")
	if !is {
		return ""
	}
	return strings.TrimPrefix(version, "v")
}

// older reports whether a version comes before another one, by their first two
// numbers. What is no version is not older.
func older(version, than string) bool {
	var a, b [2]int
	_, err1 := fmt.Sscanf(version, "%d.%d", &a[0], &a[1])
	_, err2 := fmt.Sscanf(than, "%d.%d", &b[0], &b[1])
	if errors.Join(err1, err2) != nil {
		return false
	}
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}
