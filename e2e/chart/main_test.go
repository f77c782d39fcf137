package main

import (
	"strings"
	"testing"
)

// What does not exist is named, and what is not restricted.
func TestRun(t *testing.T) {
	t.Parallel()
	const good = `# a comment
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers: [{name: c, image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
`
	for name, c := range map[string]struct{ in, out, fails string }{
		"restricted": {in: good, out: "Pod/a: restricted\n"},
		"host network": {
			in: strings.Replace(good, "spec:\n", "spec:\n  hostNetwork: true\n", 1), out: "Pod/a: host namespaces (hostNetwork=true)\n",
		},
		"unknown field":   {in: strings.Replace(good, "containers", "contianers", 1), fails: `unknown field "spec.contianers"`},
		"field twice":     {in: good + "  hostPID: false\n  hostPID: false\n", fails: "already set"},
		"unknown kind":    {in: strings.Replace(good, "kind: Pod", "kind: Pot", 1), fails: `no kind "Pot"`},
		"nothing at all":  {in: "# a comment\n", fails: "no object"},
		"operator's kind": {in: "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: m}\nspec: {selektor: {}}\n", fails: "selektor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(strings.NewReader(c.in), &out)
			if c.fails == "" && (err != nil || out.String() != c.out) {
				t.Errorf("%v, says %q; want %q", err, &out, c.out)
			}
			if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("%v, want %q", err, c.fails)
			}
		})
	}
}
