package main

import (
	"strings"
	"testing"
)

// An image is brought to nodes by what an operator types, and is there then.
func TestPreheat(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, false)
	img := c.push(t, "1", random3(t))
	out := c.run(t, 0, "preheat", "create", c.registry+"/team/app:1", "--all", "--wait")
	wants(t, out, "succeeded", "3 (all): 3 done, 0 failed", "zone-0", "zone-1")
	wants(t, c.run(t, 0, "preheat", "ls"), c.registry+"/team/app:1", "succeeded", "100%")
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		wants(t, c.run(t, i, "cache", "ls", "-o", "name"), digest.String())
	}
	wants(t, c.run(t, 0, "preheat", "create", c.registry+"/team/app:1", "--zones", "zone-1", "--wait", "-o", "json"), `"nodes": 1`)
	code, _, errs := c.try(0, "preheat", "create", c.registry+"/team/app:1", "--platform", "linux/s390x", "--wait")
	if code != 0 {
		t.Errorf("an image that says no platform is for all of them: %d %s", code, errs)
	}
	code, _, errs = c.try(0, "preheat", "create", c.registry+"/team/app:none", "--wait")
	if code != 1 || !strings.Contains(errs, "404") {
		t.Errorf("an image that is not there: %d %s", code, errs)
	}
	code, _, errs = c.try(0, "preheat", "create", "elsewhere.test/team/app:1")
	if code != 1 || !strings.Contains(errs, "preheat.registries") {
		t.Errorf("a registry that is not listed: %d %s", code, errs)
	}
	wants(t, c.run(t, 0, "explain", digest.String()), "joined")
}
