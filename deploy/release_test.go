// Package deploy_test holds what releases are made by against what is there.
package deploy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// files are those that a forge, a bot or goreleaser reads.
func files(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob("../.github/workflows/*.yaml")
	if err != nil || len(found) == 0 {
		t.Fatalf("workflows: %v, %v", found, err)
	}
	all := make(map[string]string)
	for _, file := range append(found, "../.goreleaser.yaml", "../.github/dependabot.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(text)
	}
	return all
}

// What workflows and goreleaser run is there: targets of make, scripts, programs,
// files.
func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`\bmake ((?:[a-z][a-z0-9-]*[ \n]?)+)`)
	paths := regexp.MustCompile(`(?:^|[\s"(\[{])\./?((?:cmd|deploy|scripts|e2e|tools|docs)/[A-Za-z0-9_./-]+)|((?:deploy|scripts|e2e|tools|docs)/[A-Za-z0-9_./-]+)`)
	for file, text := range files(t) {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(text), &content); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, m := range targets.FindAllStringSubmatch(text, -1) {
			for target := range strings.FieldsSeq(m[1]) {
				if !bytes.Contains(makefile, []byte("\n"+target+":")) {
					t.Errorf("%s: make %s: there is no such target", file, target)
				}
			}
		}
		for _, m := range paths.FindAllStringSubmatch(text, -1) {
			at := m[1] + m[2]
			if _, err := os.Stat("../" + strings.TrimRight(at, "/.")); err != nil && !strings.Contains(text, at+"*") {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// Workflows may read and nothing more, unless a job says otherwise; and each action
// has a version.
func TestWorkflowsAreModest(t *testing.T) {
	t.Parallel()
	for file, text := range files(t) {
		if !strings.Contains(file, "workflows") {
			continue
		}
		var w struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Minutes int `json:"timeout-minutes"`
				Steps   []struct{ Uses string }
			}
		}
		if err := yaml.Unmarshal([]byte(text), &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions %v, want contents: read", file, w.Permissions)
		}
		for name, job := range w.Jobs {
			if job.Minutes == 0 {
				t.Errorf("%s: job %s has no end in time", file, name)
			}
			for _, s := range job.Steps {
				if s.Uses != "" && !regexp.MustCompile(`@(v\d+|[0-9a-f]{40})$`).MatchString(s.Uses) {
					t.Errorf("%s: job %s uses %s, which names neither a version nor a commit", file, name, s.Uses)
				}
			}
		}
	}
}

// The Dockerfile builds by the Go that go.mod wants.
func TestDockerfileHasTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	docker, err := os.ReadFile("images/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	have := regexp.MustCompile(`golang:(\d+\.\d+)`).FindStringSubmatch(string(docker))
	if want == nil || have == nil || want[1] != have[1] {
		t.Errorf("the Dockerfile builds with %v, go.mod wants %v", have, want)
	}
}
