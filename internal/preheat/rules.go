package preheat

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/p2pd/p2pd/internal/api"
)

// The happenings of a registry that may lead to a preheat.
const (
	OnPush = "push" // an image was pushed
	OnScan = "scan" // an image was scanned for vulnerabilities
)

// severities are those of scanners, the mildest first. What is not among them
// counts as worse than all.
var severities = []string{"none", "negligible", "low", "medium", "high", "critical"}

// Rule says which happenings lead to a preheat, and of what kind. Patterns are those
// of path.Match: * is anything but a slash; "**" at the end is anything at all. An
// empty pattern fits all.
type Rule struct {
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// On are happenings; empty: push.
	On []string `json:"on"`
	// MaxSeverity is the worst finding of a scan that is still preheated; empty:
	// none and negligible ones.
	MaxSeverity string `json:"maxSeverity"`
	// What follows is as in api.PreheatRequest.
	Scope      string   `json:"scope"`
	Count      int      `json:"count"`
	Percentage int      `json:"percentage"`
	Platforms  []string `json:"platforms"`
	Nodes      []string `json:"nodes"`
	Zones      []string `json:"zones"`
	Selector   string   `json:"selector"`
	Into       string   `json:"into"`
}

// Happening is what a registry tells of an image.
type Happening struct {
	On                        string // OnPush or OnScan
	Registry, Repository, Tag string
	Digest                    string // empty: not told
	Severity                  string // of a scan's worst finding; empty: not told
}

// Image is the name of the image, by digest if that is known.
func (h Happening) Image() string {
	if h.Digest != "" {
		return h.Registry + "/" + h.Repository + "@" + h.Digest
	}
	return h.Registry + "/" + h.Repository + ":" + h.Tag
}

// Check says what is wrong with a rule.
func (r *Rule) Check() error {
	for _, p := range []string{r.Registry, r.Repository, r.Tag} {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("%q is no pattern; write * for anything but a slash, ** at the end for anything", p)
		}
	}
	for _, on := range r.On {
		if on != OnPush && on != OnScan {
			return fmt.Errorf("on: %q does not happen; write push or scan", on)
		}
	}
	if r.MaxSeverity != "" && rank(r.MaxSeverity) == len(severities) {
		return fmt.Errorf("maxSeverity: %q is none; write one of %s", r.MaxSeverity, strings.Join(severities, ", "))
	}
	s := Spec{Scope: r.Scope, Count: r.Count, Percentage: r.Percentage, Nodes: r.Nodes, Zones: r.Zones}
	s.Platforms = r.Platforms
	if err := s.labelled(r.Selector); err != nil {
		return err
	}
	if err := s.scope(); err != nil {
		return err
	}
	return s.into(r.Into)
}

// Requests are the jobs that rules want when something happens: one a rule, those
// that are the same once.
func Requests(rules []Rule, h Happening) (all []api.PreheatRequest) {
	for _, r := range rules {
		if !r.fits(h) {
			continue
		}
		one := api.PreheatRequest{
			Image: h.Image(), Platforms: r.Platforms, Scope: r.Scope, Count: r.Count, Percentage: r.Percentage, Nodes: r.Nodes, Zones: r.Zones,
			Selector: r.Selector, Into: r.Into,
		}
		if !slices.ContainsFunc(all, func(o api.PreheatRequest) bool { return fmt.Sprint(o) == fmt.Sprint(one) }) {
			all = append(all, one)
		}
	}
	return all
}

func (r *Rule) fits(h Happening) bool {
	on := r.On
	if len(on) == 0 {
		on = []string{OnPush}
	}
	if !slices.Contains(on, h.On) || !match(r.Registry, h.Registry) || !match(r.Repository, h.Repository) || !match(r.Tag, h.Tag) {
		return false
	}
	worst := rank("negligible")
	if r.MaxSeverity != "" {
		worst = rank(r.MaxSeverity)
	}
	return h.On != OnScan || rank(h.Severity) <= worst
}

func rank(severity string) int {
	if i := slices.Index(severities, strings.ToLower(severity)); i >= 0 {
		return i
	}
	return len(severities)
}

func match(pattern, text string) bool {
	if front, ok := strings.CutSuffix(pattern, "**"); ok && strings.HasPrefix(text, front) {
		return true
	}
	ok, err := path.Match(pattern, text)
	return pattern == "" || ok && err == nil
}
