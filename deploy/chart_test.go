package deploy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const chart = "helm/p2pd/"

var update = flag.Bool("update", false, "write what is generated of the chart anew")

// document is the one mapping of a YAML file, with its comments.
func document(t *testing.T, file string) *yaml.Node {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		t.Fatalf("%s is no mapping: %v", file, err)
	}
	return doc.Content[0]
}

// same holds a generated file against what is there, or writes it.
func same(t *testing.T, file string, want []byte) {
	t.Helper()
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(have, want) {
		return
	}
	if *update {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what it is made of; 'make generate' writes it anew\n%s", file, cmp.Diff(string(have), string(want)))
}

// TestSchemaKnowsTheConfiguration: node.config and scheduler.config take the keys
// that docs/p2pd.yaml and docs/scheduler.yaml have, and no others. (What values
// they take, the programs say.)
func TestSchemaKnowsTheConfiguration(t *testing.T) {
	t.Parallel()
	file := chart + "values.schema.json"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for part, source := range map[string]string{"node": "../docs/p2pd.yaml", "scheduler": "../docs/scheduler.yaml"} {
		// The schema stays as people wrote it but for these two lines.
		line := regexp.MustCompile(`(?m)^    "` + part + `": \{[\s\S]*?^        "config": (.*?)(,?)$`)
		at := line.FindSubmatchIndex(text)
		if at == nil {
			t.Fatalf("%s has no line for %s.config", file, part)
		}
		keys, err := json.Marshal(schema(document(t, source)))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text[:at[2]:at[2]], append(keys, text[at[3]:]...)...)
	}
	same(t, file, text)
}

// schema allows the keys of a mapping. One that is empty is a map of the
// operator's own, and anything else is left to the program.
func schema(n *yaml.Node) any {
	if n.Kind != yaml.MappingNode {
		return struct{}{}
	}
	if len(n.Content) == 0 {
		return map[string]any{"type": "object"}
	}
	keys := make(map[string]any)
	for i := 0; i < len(n.Content); i += 2 {
		keys[n.Content[i].Value] = schema(n.Content[i+1])
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": keys}
}

// TestReadmeHasTheValues: the chart's README has a table of all values, with what
// values.yaml says of them.
func TestReadmeHasTheValues(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- values: made of values.yaml by 'make generate' -->\n", "<!-- end of values -->\n"
	file := chart + "README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(text, []byte(begin))
	_, after, ends := bytes.Cut(rest, []byte(end))
	if !found || !ends {
		t.Fatalf("%s has not the two lines %q and %q", file, begin, end)
	}
	var table strings.Builder
	table.WriteString("| value | default | what it is |\n|---|---|---|\n")
	rows(t, &table, "", document(t, chart+"values.yaml"))
	same(t, file, fmt.Appendf(nil, "%s%s%s%s%s", before, begin, table.String(), end, after))
}

// rows writes a row for each value below n. One that is written in braces is one
// value.
func rows(t *testing.T, w *strings.Builder, path string, n *yaml.Node) {
	t.Helper()
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := path + key.Value
		about := comment(key)
		if value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0 {
			if about != "" {
				fmt.Fprintf(w, "| **`%s`** | | %s |\n", at, about)
			}
			rows(t, w, at+".", value)
			continue
		}
		value.HeadComment, value.LineComment, value.FootComment = "", "", ""
		text, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "| `%s` | `%s` | %s |\n", at, strings.Join(strings.Fields(string(text)), " "), about)
	}
}

// comment is what stands above a key, on one line.
func comment(key *yaml.Node) string {
	// A comment that is set off by an empty line is about the file.
	text := key.HeadComment[strings.LastIndex(key.HeadComment, "\n\n")+1:]
	var words []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#  ") { // an example of the value above
			continue
		}
		words = append(words, strings.Fields(strings.TrimLeft(line, "#"))...)
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(strings.Join(words, " "))
}

// TestChartIsOfOneVersion: what Artifact Hub is told are the images that the chart
// names by itself.
func TestChartIsOfOneVersion(t *testing.T) {
	t.Parallel()
	var c struct {
		Version     string
		AppVersion  string `yaml:"appVersion"`
		Annotations map[string]string
	}
	if err := document(t, chart+"Chart.yaml").Decode(&c); err != nil {
		t.Fatal(err)
	}
	if c.Version != c.AppVersion {
		t.Errorf("chart %s brings programs of version %s; both are released at once", c.Version, c.AppVersion)
	}
	var images []struct{ Name, Image string }
	if err := yaml.Unmarshal([]byte(c.Annotations["artifacthub.io/images"]), &images); err != nil || len(images) != 2 {
		t.Fatalf("artifacthub.io/images has %v, %v; want two", images, err)
	}
	for _, i := range images {
		if !strings.HasSuffix(i.Image, "/"+i.Name+":"+c.AppVersion) {
			t.Errorf("artifacthub.io/images has %s, which is not of version %s", i.Image, c.AppVersion)
		}
	}
	var links []struct{ Name, URL string }
	if err := yaml.Unmarshal([]byte(c.Annotations["artifacthub.io/links"]), &links); err != nil || len(links) == 0 {
		t.Errorf("artifacthub.io/links has %v, %v", links, err)
	}
	var changes []struct{ Kind, Description string }
	if err := yaml.Unmarshal([]byte(c.Annotations["artifacthub.io/changes"]), &changes); err != nil || len(changes) == 0 {
		t.Fatalf("artifacthub.io/changes has %v, %v", changes, err)
	}
	for _, change := range changes {
		if !strings.Contains(" added changed deprecated removed fixed security ", " "+change.Kind+" ") || change.Description == "" {
			t.Errorf("artifacthub.io/changes has %+v", change)
		}
	}
}
