package deploy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/p2pd/p2pd/internal/ctl"
)

const exampleImage = "registry.example/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"

// actors are programs that play those which the examples call: each says what it is
// asked for in $SAID.
var actors = map[string]string{
	"kubectl": `echo "kubectl $*" >>"$SAID"
case "$*" in *" get pods "*) printf %s "$PODS" ;; *" exec "*) exit "${EXEC:-0}" ;; esac`,
	"trivy":  `echo "trivy $*" >>"$SAID"; exit "${TRIVY:-0}"`,
	"docker": `echo "docker $*" >>"$SAID"; echo '{"containerimage.digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}' >build.json`,
}

// play runs a script with the actors, in a folder that has the examples in it, and
// returns what they were asked for.
func play(t *testing.T, script string, env ...string) (said []string, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range actors {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(examples, filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "said")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", script)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + dir + ":/usr/bin:/bin", "SAID=" + log, "PODS=pod/a\npod/b\n", "IMAGE=" + exampleImage}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	text, _ := os.ReadFile(log) // nothing was asked for where there is none
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err
}

// What the scripts ask for, and when they give up.
func TestExamplesScripts(t *testing.T) {
	t.Parallel()
	const (
		preheat = "kubectl --namespace p2pd exec statefulset/p2pd-scheduler -- /p2pctl preheat create " + exampleImage + " --wait --all"
		pods    = "kubectl --namespace p2pd get pods --selector app.kubernetes.io/component=node --output name"
		scan    = "trivy image --exit-code 1 --severity HIGH,CRITICAL --ignore-unfixed " + exampleImage
	)
	check := func(pod string) string {
		return "kubectl --namespace p2pd exec " + pod + " --container p2pd -- /p2pctl check --root /host --image " + exampleImage
	}
	for name, c := range map[string]struct {
		script string
		env    []string
		said   []string
		fails  string
	}{
		"preheat":             {script: `examples/preheat.sh "$IMAGE" --all`, said: []string{preheat}},
		"preheat that fails":  {script: `examples/preheat.sh "$IMAGE" --all`, env: []string{"EXEC=1"}, said: []string{preheat}, fails: "exit status 1"},
		"preheat of nothing":  {script: `examples/preheat.sh`, said: []string{""}, fails: "usage"},
		"gate":                {script: `examples/gate.sh "$IMAGE" --all`, said: []string{scan, preheat}},
		"gate that is closed": {script: `examples/gate.sh "$IMAGE" --all`, env: []string{"TRIVY=1"}, said: []string{scan}, fails: "exit status 1"},
		"gate of a tag":       {script: `examples/gate.sh registry.example/app:1`, said: []string{""}, fails: "names no digest"},
		"check":               {script: `examples/check.sh "$IMAGE"`, said: []string{pods, check("pod/a"), check("pod/b")}},
		"check that fails":    {script: `examples/check.sh "$IMAGE"`, env: []string{"EXEC=1"}, said: []string{pods, check("pod/a")}, fails: "exit status 1"},
		"check of no node":    {script: `examples/check.sh "$IMAGE"`, env: []string{"PODS="}, said: []string{pods}, fails: "there is no p2pd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, err := play(t, c.script, c.env...)
			if diff := cmp.Diff(c.said, said); diff != "" {
				t.Errorf("asked for otherwise:\n%s", diff)
			}
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%v, want %q", err, c.fails)
			}
			commandsAreReal(t, said)
		})
	}
}

// commandsAreReal fails unless p2pctl takes what was asked of it.
func commandsAreReal(t *testing.T, said []string) {
	t.Helper()
	for _, line := range said {
		if _, args, found := strings.Cut(line, "/p2pctl "); found {
			takes(t, strings.Fields(args))
		}
	}
}

// takes fails unless p2pctl has a command with these flags and arguments.
func takes(t *testing.T, args []string) {
	t.Helper()
	cmd, rest, err := ctl.Command("p2pctl").Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil || !cmd.Runnable() {
		t.Errorf("p2pctl %v is no command: %v", args, err)
	}
}

// The pipelines' own commands lead to a preheat of what was built, before it is
// deployed, and to a check after.
func TestExamplesPipelines(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{"GitLab": gitlab(t), "Jenkins": jenkins(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, err := play(t, script, "REPOSITORY=registry.example/app", "BUILD_NUMBER=1")
			if err != nil {
				t.Fatal(err)
			}
			var order []string
			for _, line := range said {
				for _, what := range []string{"trivy image", "preheat create", "set image", "rollout status", "/p2pctl check"} {
					if strings.Contains(line, what) && !slices.Contains(order, what) {
						order = append(order, what)
					}
				}
			}
			if diff := cmp.Diff([]string{"trivy image", "preheat create", "set image", "rollout status", "/p2pctl check"}, order); diff != "" {
				t.Errorf("in another order:\n%s\n%s", diff, strings.Join(said, "\n"))
			}
			commandsAreReal(t, said)
			if said, err := play(t, script, "REPOSITORY=registry.example/app", "BUILD_NUMBER=1", "TRIVY=1"); err == nil || slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "set image") }) {
				t.Errorf("deployed although Trivy found something: %v, %v", err, said)
			}
		})
	}
}

// gitlab is what the jobs of gitlab-ci.yml run, but for the one that builds.
func gitlab(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../examples/gitlab-ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := yaml.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	var script []string
	for _, stage := range top["stages"].([]any) {
		job, ok := top[stage.(string)].(map[string]any)
		if !ok || job["stage"] != stage {
			t.Fatalf("stage %v has no job of its name", stage)
		}
		for _, line := range job["script"].([]any) {
			if stage != "build" { // which needs kaniko's own image
				script = append(script, line.(string))
			}
		}
	}
	return strings.Join(script, "\n")
}

// jenkins is what the stages of the Jenkinsfile run. In its quotes a backslash is
// written twice.
func jenkins(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../examples/Jenkinsfile")
	if err != nil {
		t.Fatal(err)
	}
	stages, _, found := strings.Cut(string(text), "\n  post {")
	blocks := regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindAllStringSubmatch(stages, -1)
	if !found || len(blocks) != 4 {
		t.Fatalf("the Jenkinsfile has %d blocks of commands, want 4", len(blocks))
	}
	var script []string
	for _, b := range blocks {
		script = append(script, strings.ReplaceAll(b[1], `\\`, `\`))
	}
	return strings.Join(script, "\n")
}

// What the examples name is there: p2pctl's commands in Argo CD's hooks, metrics, and
// the labels of the chart's pods.
func TestExamplesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	metrics, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob("../examples/*/*.yaml")
	if err != nil || len(found) < 8 {
		t.Fatalf("%v, %v", found, err)
	}
	metric := regexp.MustCompile(`\bp2p(?:d|sched)_[a-z_]+`)
	component := regexp.MustCompile(`app\.kubernetes\.io/component: (\w+)`)
	command := regexp.MustCompile(`(?s)- /p2pctl\n(.*?)\n +securityContext`)
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(text), -1) {
			name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
			if !strings.Contains(string(metrics), "`"+name) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		for _, m := range component.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "node" && m[1] != "scheduler" {
				t.Errorf("%s: the chart has no component %s", file, m[1])
			}
		}
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			takes(t, strings.Fields(strings.ReplaceAll(m[1], "- ", "")))
		}
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			var o struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil || o.APIVersion == "" || o.Kind == "" {
				t.Errorf("%s: %v, is %+v", file, err, o)
			}
		}
		if strings.Contains(file, "chaos-mesh") && !strings.Contains(string(text), "\n# Expected: ") {
			t.Errorf("%s does not say what is to be expected", file)
		}
	}
}
