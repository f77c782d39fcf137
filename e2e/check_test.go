package e2e

import (
	"slices"
	"strings"
	"testing"
)

// p2pctl check passes where all is well, with a container really started, and
// names each of these misconfigurations: by the check that is for it, in words
// that name the thing, and with nothing else amiss but what follows from it.
// docs/checks.md has the same table for people.
func TestCheckNamesEachMisconfiguration(t *testing.T) {
	w := newWard(t)
	w.healthy(t)
	w.told(t)
	for _, m := range misconfigurations() {
		t.Run(m.name, func(t *testing.T) {
			heal := m.spoil(t, w)
			defer heal()
			var args, env []string
			program := programs(t).P2PCtl
			if m.look != nil {
				args = m.look(w)
			}
			if m.env != nil {
				env = m.env(w)
			}
			if m.other {
				program = w.another
			}
			m.judge(t, w.check(t, program, env, args...))
		})
	}
	w.healthy(t) // all was put right
}

// misconfiguration is one thing that is wrong on a node, for real.
type misconfiguration struct {
	name string
	// spoil breaks it. heal puts it right.
	spoil func(t *testing.T, w *ward) (heal func())
	// look is what p2pctl check is told to look at besides, or instead.
	look func(w *ward) []string
	// env is added to its environment. other is a p2pctl of another version.
	env   func(w *ward) []string
	other bool
	// check is the one that must name it, by its ID, with all these words.
	check, result string
	says          []string
	// follows are the checks that fail with it.
	follows []string
}

// judge holds what was found against what is wrong.
func (m *misconfiguration) judge(t *testing.T, found checked) {
	t.Helper()
	if found.code != 1 || found.Success {
		t.Errorf("it ended with %d, success %v", found.code, found.Success)
	}
	named := false
	for _, c := range found.all() {
		if c.ID != m.check {
			if (c.Result == "error" || c.Result == "warning") && !slices.Contains(m.follows, c.ID) {
				t.Errorf("%s is no consequence, and yet: %s: %s", c.ID, c.Result, c.Error)
			}
			continue
		}
		named = true
		if c.Result != m.result || !strings.HasSuffix(c.Hint, "docs/checks.md#"+c.ID) {
			t.Errorf("%s: %s (%s), want %s: %s", c.ID, c.Result, c.Hint, m.result, c.Error)
		}
		for _, s := range m.says {
			if !strings.Contains(c.Error, s) {
				t.Errorf("%s does not say %q: %s", c.ID, s, c.Error)
			}
		}
		t.Logf("%s: %s", c.ID, c.Error)
	}
	if !named {
		t.Errorf("there is no check %s", m.check)
	}
}
