package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Clusters are zones by the number that Dragonfly's API has for a cluster of
// schedulers, written ID=ZONE,... as a flag; an ID with several zones is repeated.
type Clusters map[string]Names

// String implements pflag.Value.
func (c Clusters) String() string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(c)) {
		for _, zone := range c[id] {
			all = append(all, id+"="+zone)
		}
	}
	return strings.Join(all, ",")
}

// Set implements pflag.Value.
func (c *Clusters) Set(s string) error {
	*c = nil
	if strings.TrimSpace(s) == "" {
		return nil
	}
	all := make(Clusters)
	for entry := range strings.SplitSeq(s, ",") {
		id, zone, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if !ok {
			return fmt.Errorf("%q is not ID=ZONE", entry)
		}
		all[id] = append(all[id], zone)
	}
	*c = all
	return nil
}

// Type implements pflag.Value.
func (*Clusters) Type() string { return "clusters" }

// zones are the zones of each cluster. The configuration must be valid.
func (c Clusters) zones() map[int64][]string {
	all := make(map[int64][]string, len(c))
	for id, zones := range c {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			all[n] = zones
		}
	}
	return all
}
