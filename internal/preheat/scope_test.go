package preheat

import (
	"testing"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A job's nodes are as many as its scope says, evenly over the zones, of those that
// it names and that can run the image; and they are the same ones each time.
func TestTargets(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.attach("a1/a/linux/amd64", "a2/a/linux/amd64", "a3/a/linux/arm64", "a4/a", "b1+/b/linux/amd64", "b2/b/linux/amd64", "c1/c/linux/arm64")
	both := []Variant{{Platform: "linux/amd64"}, {Platform: "linux/arm64/v8"}}
	amd := both[:1]
	d := piece.Sum([]byte("image"))
	gpu := newLabelled("gpu", []string{"node-a2", "node-a3", "node-b1", "node-x"})
	for _, tt := range []struct {
		name     string
		spec     Spec
		variants []Variant
		zones    map[string]int
	}{
		{"one a zone", Spec{Scope: api.PreheatZone}, both, map[string]int{"a": 1, "b": 1, "c": 1}},
		{"all", Spec{Scope: api.PreheatAll}, both, map[string]int{"a": 4, "b": 2, "c": 1}},
		{"all that can run it", Spec{Scope: api.PreheatAll}, amd, map[string]int{"a": 3, "b": 2}},
		{"all, whatever they run", Spec{Scope: api.PreheatAll, Platforms: []string{"linux/amd64"}}, amd, map[string]int{"a": 4, "b": 2, "c": 1}},
		{"one that does not say", Spec{Scope: api.PreheatAll}, []Variant{{}}, map[string]int{"a": 4, "b": 2, "c": 1}},
		{"half", Spec{Scope: api.PreheatSome, Percentage: 50}, both, map[string]int{"a": 2, "b": 1, "c": 1}},
		{"one in a hundred", Spec{Scope: api.PreheatSome, Percentage: 1}, both, map[string]int{"a": 1}},
		{"five", Spec{Scope: api.PreheatSome, Count: 5}, both, map[string]int{"a": 2, "b": 2, "c": 1}},
		{"more than there are", Spec{Scope: api.PreheatSome, Count: 50}, both, map[string]int{"a": 4, "b": 2, "c": 1}},
		{"of a zone", Spec{Scope: api.PreheatAll, Zones: []string{"b"}}, both, map[string]int{"b": 2}},
		{"by name", Spec{Scope: api.PreheatAll, Nodes: []string{"node-a1", "c1", "node-x"}}, both, map[string]int{"a": 1, "c": 1}},
		{"by a pattern of names", Spec{Scope: api.PreheatAll, Nodes: []string{"node-a[12]", "node-c*"}}, both, map[string]int{"a": 2, "c": 1}},
		{"into containerd, where that can be", Spec{Scope: api.PreheatZone, Into: api.PreheatContainerd}, both, map[string]int{"b": 1}},
		{"into every containerd", Spec{Scope: api.PreheatAll, Into: api.PreheatContainerd}, both, map[string]int{"a": 4, "b": 2, "c": 1}},
		{"by labels", Spec{Scope: api.PreheatAll, Labelled: gpu}, both, map[string]int{"a": 2, "b": 1}},
		{"by labels, that can run it", Spec{Scope: api.PreheatAll, Labelled: gpu}, amd, map[string]int{"a": 1, "b": 1}},
		{"by labels, one a zone", Spec{Scope: api.PreheatZone, Labelled: gpu}, both, map[string]int{"a": 1, "b": 1}},
		{"by labels, of a zone", Spec{Scope: api.PreheatAll, Labelled: gpu, Zones: []string{"b", "c"}}, both, map[string]int{"b": 1}},
		{"by labels and a pattern of names", Spec{Scope: api.PreheatAll, Labelled: gpu, Nodes: []string{"node-a[12]"}}, both, map[string]int{"a": 1}},
		{"by labels and an address", Spec{Scope: api.PreheatAll, Labelled: gpu, Nodes: []string{"192.0.2.1"}}, both, map[string]int{"a": 2, "b": 1}},
		{"by labels, half of them", Spec{Scope: api.PreheatSome, Labelled: gpu, Percentage: 50}, both, map[string]int{"a": 1, "b": 1}},
		{"by labels, one of them", Spec{Scope: api.PreheatSome, Labelled: gpu, Count: 1}, both, map[string]int{"a": 1}},
		{"by labels that only others have", Spec{Scope: api.PreheatAll, Labelled: gpu, Nodes: []string{"node-c1"}}, both, map[string]int{}},
		{"none", Spec{Scope: api.PreheatAll, Nodes: []string{"node-x"}}, both, map[string]int{}},
	} {
		chosen := tt.spec.targets(w.peers, d, tt.variants)
		zones := make(map[string]int)
		for _, p := range chosen {
			zones[p.Zone]++
		}
		if len(zones) != len(tt.zones) {
			t.Errorf("%s: %v, want %v", tt.name, zones, tt.zones)
		}
		for z, n := range tt.zones {
			if zones[z] != n {
				t.Errorf("%s: %v, want %v", tt.name, zones, tt.zones)
			}
		}
		shuffled := append(append([]scheduler.Peer(nil), w.peers[3:]...), w.peers[:3]...)
		for i, p := range tt.spec.targets(shuffled, d, tt.variants) {
			if p.ID != chosen[i].ID {
				t.Errorf("%s: another choice in another order", tt.name)
			}
		}
	}
}
