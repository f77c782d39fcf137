package p2pd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// programText is all Go code of the programs, in one text.
func programText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"internal", "pkg"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			text, err := os.ReadFile(name)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// TestTroubleshootingQuotesThePrograms: each message that docs/troubleshooting.md
// explains is one that a program can say.
func TestTroubleshootingQuotesThePrograms(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, said, found := strings.Cut(string(text), "\n## Messages\n")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(said, -1)
	if !found || len(rows) < 10 {
		t.Fatalf("docs/troubleshooting.md explains %d messages below \"Messages\"", len(rows))
	}
	code := programText(t)
	for _, row := range rows {
		for part := range strings.SplitSeq(row[1], "…") {
			if !strings.Contains(code, strings.TrimSpace(part)) {
				t.Errorf("no program says %q", strings.TrimSpace(part))
			}
		}
	}
}

// TestDocumentsAreLinked: what a document links to is there, and each document can be
// found from README.md.
func TestDocumentsAreLinked(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)\s]*)?\)`)
	seen := map[string]bool{}
	for todo := []string{"README.md"}; len(todo) > 0; todo = todo[1:] {
		file := todo[0]
		if seen[file] || !strings.HasSuffix(file, ".md") {
			continue
		}
		seen[file] = true
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			at := filepath.Join(filepath.Dir(file), m[1])
			if _, err := os.Stat(at); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			todo = append(todo, at)
		}
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("documents: %v, %v", documents, err)
	}
	for _, d := range documents {
		if !seen[d] {
			t.Errorf("no way leads from README.md to %s", d)
		}
	}
}
