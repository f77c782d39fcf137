package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

const (
	hostsName = "hosts.toml"
	// AllRegistries is the folder that holds for every registry which has
	// none of its own.
	AllRegistries = "_default"
)

// Config says what to set up, and where. Files and Mirror must be set.
type Config struct {
	Files Files
	// Root is where the node's file system is seen; empty: "/".
	Root string
	// ContainerdConfig is containerd's configuration below Root; empty:
	// DefaultContainerdConfig. CertsDir overrides what it says.
	ContainerdConfig string
	CertsDir         string
	// Mirror is where containerd finds p2pd: http://127.0.0.1:7300.
	Mirror string
	// Registries are the hosts whose images go through p2pd; empty:
	// AllRegistries. Existing adds all that have a folder already.
	Registries []string
	Existing   bool
	// Shadowed lets AllRegistries be set up although other folders hide it
	// from their registries.
	Shadowed bool
	// Enforce makes p2pd the only way to the registries, for what p2pd
	// refuses must not be had elsewhere. Exempt are registries that it is
	// never done for: that of p2pd's own image, above all.
	Enforce bool
	Exempt  []string
	// Node, if set, is sent along with each request.
	Node string
	// Probe says why the mirror's address is not p2pd's; nil does not look.
	Probe func(ctx context.Context, mirror string) error
}

// Entry is one registry's folder.
type Entry struct {
	Registry string `json:"registry"`
	File     string `json:"file"`
	// State is "p2pd" where p2pd's lines are in place, "by hand" where
	// somebody wrote the same himself, "other" where p2pd is not asked.
	State string `json:"state"`
	// Note is what was done, or should be known.
	Note string `json:"note,omitempty"`
	// Since is the oldest containerd that reads the file, such as 2.2: others
	// ignore it whole. Empty: any.
	Since string `json:"since,omitempty"`
}

// States of an Entry.
const (
	StateOurs   = "p2pd"
	StateByHand = "by hand"
	StateOther  = "other"
)

func (c *Config) check() error {
	u, err := url.Parse(c.Mirror)
	if err != nil || u.Scheme != "http" || u.Port() == "" || u.Path != "" {
		return fmt.Errorf("mirror %q is not http://HOST:PORT", c.Mirror)
	}
	if c.Root == "" {
		c.Root = "/"
	}
	if c.ContainerdConfig == "" {
		c.ContainerdConfig = DefaultContainerdConfig
	}
	if len(c.Registries) == 0 {
		c.Registries = []string{AllRegistries}
	}
	for _, r := range c.Registries {
		if r != AllRegistries && (strings.ContainsAny(r, "/@?# ") || strings.HasPrefix(r, ".") || r == "" || strings.HasPrefix(r, "_")) {
			return fmt.Errorf("%q is not a registry: write HOST or HOST:PORT", r)
		}
		if c.Enforce && r == AllRegistries {
			return errors.New("p2pd cannot be enforced for all registries: while it is down the node could pull nothing, not even p2pd; name the registries")
		}
		if c.Enforce && slices.Contains(c.Exempt, r) {
			return fmt.Errorf("registry %s is exempt from enforcing: p2pd's own image must be had without p2pd", r)
		}
	}
	return nil
}

// certs is the folder of hosts.toml files, as this process sees it.
func (c *Config) certs() (string, error) {
	if c.CertsDir != "" {
		return filepath.Join(c.Root, c.CertsDir), nil
	}
	containerd, err := readContainerd(c.Files, c.Root, c.ContainerdConfig)
	if err != nil {
		return "", err
	}
	dir, err := containerd.certsDir(c.ContainerdConfig)
	if err != nil {
		return "", err
	}
	return filepath.Join(c.Root, dir), nil
}

// Setup makes containerd ask p2pd first. To do it again changes nothing. If it
// fails or dies, every file is as it was or as it shall be, and it may be
// called again.
func Setup(ctx context.Context, c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	certs, err := c.certs()
	if err != nil {
		return nil, err
	}
	if c.Probe != nil {
		if err := c.Probe(ctx, c.Mirror); err != nil {
			return nil, err
		}
	}
	unlock, err := seize(c.Files, certs)
	if err != nil {
		return nil, err
	}
	defer unlock()
	registries, err := c.targets(certs)
	if err != nil {
		return nil, err
	}
	var done []Entry
	for _, r := range registries {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		e, err := c.setUp(certs, r)
		if err != nil {
			return done, fmt.Errorf("%s: %w", e.File, err)
		}
		done = append(done, e)
	}
	return done, nil
}

// targets are the registries to set up. It fails if one of the others hides
// AllRegistries.
func (c *Config) targets(certs string) ([]string, error) {
	have, err := folders(c.Files, certs)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(c.Registries)
	if c.Existing {
		for _, d := range have {
			if r := registryOf(d); !slices.Contains(all, r) && !slices.Contains(c.Exempt, r) {
				all = append(all, r)
			}
		}
	}
	if !slices.Contains(all, AllRegistries) || c.Shadowed {
		return all, nil
	}
	var hiding []string
	for _, d := range have {
		if r := registryOf(d); !slices.Contains(all, r) && !c.asked(certs, d) {
			hiding = append(hiding, r)
		}
	}
	if len(hiding) > 0 {
		return nil, fmt.Errorf("%s has folders of its own for %s, and containerd does not look into %s for these: set them up too (--existing), or leave them as they are (--shadowed)",
			certs, strings.Join(hiding, ", "), AllRegistries)
	}
	return all, nil
}

// asked reports whether p2pd is a host of a folder already.
func (c *Config) asked(certs, folder string) bool {
	text, err := c.Files.ReadFile(filepath.Join(certs, folder, hostsName))
	if err != nil {
		return false
	}
	h, err := readHosts(text, c.Mirror)
	return err == nil && h.mirror
}

// setUp edits one registry's file.
func (c *Config) setUp(certs, registry string) (Entry, error) {
	e := Entry{Registry: registry, File: filepath.Join(certs, folderFor(c.Files, certs, registry), hostsName), State: StateOurs}
	old, err := c.Files.ReadFile(e.File)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	rest, a, _, err := strip(old)
	if err != nil {
		return e, err
	}
	if !exists {
		_, missing, err := missingAbove(c.Files, filepath.Dir(e.File))
		if err != nil {
			return e, err
		}
		a = attributes{file: true, dirs: len(missing)}
	}
	text, err := c.edit(registry).apply(rest, a)
	switch {
	case err != nil:
		return e, err
	case exists && bytes.Equal(text, rest):
		e.State, e.Note = StateByHand, "has the mirror already, not by p2pd; left as it is"
		return e, nil
	case exists && bytes.Equal(text, old):
		e.Note = "is in place"
		return e, nil
	}
	e.Note = "written"
	return e, put(c.Files, e.File, text, exists)
}

func (c *Config) edit(registry string) hostsEdit {
	e := hostsEdit{mirror: c.Mirror, enforce: c.Enforce, header: c.Node}
	switch registry {
	case AllRegistries:
	case "docker.io":
		e.server = "https://registry-1.docker.io"
	default:
		e.server = "https://" + registry
	}
	return e
}
