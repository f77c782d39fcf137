package daemon

import (
	"strings"

	"github.com/p2pd/p2pd/internal/preheat"
)

// Rules say which webhooks lead to a preheat; on the command line patterns of
// images that are pushed, with commas.
type Rules []preheat.Rule

// String writes r as Set reads it: what is more than a pattern is left out.
func (r *Rules) String() string {
	parts := make([]string, len(*r))
	for i, one := range *r {
		parts[i] = one.Registry + "/" + one.Repository
		if one.Tag != "" {
			parts[i] += ":" + one.Tag
		}
	}
	return strings.Join(parts, ",")
}

// Set implements pflag.Value.
func (r *Rules) Set(s string) error {
	var all Rules
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		host, rest, _ := strings.Cut(part, "/")
		repo, tag, _ := strings.Cut(rest, ":")
		all = append(all, preheat.Rule{Registry: host, Repository: repo, Tag: tag})
	}
	*r = all
	return nil
}

// Type implements pflag.Value.
func (*Rules) Type() string { return "list" }
