package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/access"
)

// AccessConfig is how clients prove that they may have what they ask for.
type AccessConfig struct {
	// Modes are for hosts, or *.SUFFIX; relay is for all others.
	Modes AccessModes `json:"modes"`
	// OnOriginDown is "deny" or "allowRecent".
	OnOriginDown string `json:"onOriginDown"`
	// Recent is how old a proof may be while the origin is down.
	Recent Duration `json:"recent"`
}

func defaultAccess() AccessConfig {
	return AccessConfig{OnOriginDown: "deny", Recent: Duration(access.DefaultRecent)}
}

func (c *AccessConfig) flags(fs *pflag.FlagSet) {
	fs.Var(&c.Modes, "access-modes", "how clients of a registry prove their rights, as HOST=MODE,...: relay (by the registry's tokens), basic (p2pd sees passwords), node (by the node's credentials) or open (not at all)")
	text(fs, &c.OnOriginDown, "access-on-origin-down", "private content while its registry is down: `deny` or allowRecent")
	fs.Var(&c.Recent, "access-recent", "how old a proof may be while a registry is down")
}

// access checks what is configured.
func (p *problems) access(c AccessConfig) {
	for _, host := range slices.Sorted(maps.Keys(c.Modes)) {
		var m access.Mode
		if err := m.UnmarshalText([]byte(c.Modes[host])); err != nil {
			p.add("access.modes["+host+"]", c.Modes[host], "is no mode; use relay, basic, node or open")
		}
		if strings.ContainsAny(host, "/@? ") || host == "" {
			p.add("access.modes", host, "is not a registry host; write HOST, HOST:PORT or *.SUFFIX")
		}
	}
	if c.OnOriginDown != "deny" && c.OnOriginDown != "allowRecent" {
		p.add("access.onOriginDown", c.OnOriginDown, "is no choice; use deny or allowRecent")
	}
	if d := time.Duration(c.Recent); d <= 0 || d > access.MaxRecent {
		p.add("access.recent", d, "is out of bounds; use more than 0s and at most "+access.MaxRecent.String())
	}
}

// AccessModes are modes by host, written HOST=MODE,... as a flag.
type AccessModes map[string]string

// String implements pflag.Value.
func (m AccessModes) String() string {
	var all []string
	for _, host := range slices.Sorted(maps.Keys(m)) {
		all = append(all, host+"="+m[host])
	}
	return strings.Join(all, ",")
}

// Set implements pflag.Value.
func (m *AccessModes) Set(s string) error {
	*m = nil
	if strings.TrimSpace(s) == "" {
		return nil
	}
	for entry := range strings.SplitSeq(s, ",") {
		host, mode, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if !ok {
			return fmt.Errorf("%q is not HOST=MODE", entry)
		}
		if *m == nil {
			*m = make(AccessModes)
		}
		(*m)[host] = mode
	}
	return nil
}

// Type implements pflag.Value.
func (*AccessModes) Type() string { return "modes" }

// mode is the mode of a host: of its own entry, else of the longest suffix.
func (c AccessConfig) mode(host string) access.Mode {
	entry, longest := c.Modes[host], 0
	for pattern, mode := range c.Modes {
		suffix, ok := strings.CutPrefix(pattern, "*")
		if ok && c.Modes[host] == "" && len(suffix) > longest && strings.HasSuffix(host, suffix) {
			entry, longest = mode, len(suffix)
		}
	}
	var m access.Mode
	_ = m.UnmarshalText([]byte(entry)) // Validate has checked those that are there
	return m
}
