package monitoring_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// board is what is checked of a Grafana dashboard.
type board struct {
	file       string
	UID        string
	Title      string
	Templating struct{ List []struct{ Name, Type string } }
	Panels     []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

// exprs are a board's expressions.
func (b board) exprs() (all []string) {
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

func boards(t *testing.T) (all []board) {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b := board{file: file}
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, b)
	}
	return all
}

// Dashboards work with whatever the data source is called, say what their
// numbers are and mean, and their panels do not lie on each other.
func TestDashboards(t *testing.T) {
	t.Parallel()
	uids := make(map[string]bool)
	for _, b := range boards(t) {
		if b.UID == "" || uids[b.UID] || b.Title == "" {
			t.Errorf("%s: uid %q, title %q", b.file, b.UID, b.Title)
		}
		uids[b.UID] = true
		if v := b.Templating.List; len(v) == 0 || v[0].Name != "datasource" || v[0].Type != "datasource" {
			t.Errorf("%s: no variable for the data source: %+v", b.file, v)
		}
		ids, taken := make(map[int]bool), make(map[[2]int]string)
		for _, p := range b.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have the id %d", b.file, p.ID)
			}
			ids[p.ID] = true
			place(t, b, p, taken)
			if p.Type != "row" {
				checkPanel(t, b, p)
			}
		}
	}
}

func checkPanel(t *testing.T, b board, p panel) {
	t.Helper()
	const source = "${datasource}"
	if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != source || len(p.Targets) == 0 {
		t.Errorf("%s: panel %q has unit %q, %d expressions, data source %q, description %q",
			b.file, p.Title, p.FieldConfig.Defaults.Unit, len(p.Targets), p.Datasource.UID, p.Description)
	}
	for _, target := range p.Targets {
		if target.Expr == "" || target.Datasource.UID != source {
			t.Errorf("%s: panel %q asks %q of %q", b.file, p.Title, target.Expr, target.Datasource.UID)
		}
	}
}

// place takes a panel's room on the grid of 24 columns.
func place(t *testing.T, b board, p panel, taken map[[2]int]string) {
	t.Helper()
	at := p.GridPos
	if at.W < 1 || at.H < 1 || at.X < 0 || at.X+at.W > 24 {
		t.Errorf("%s: panel %q is beside the grid: %+v", b.file, p.Title, at)
	}
	for x := at.X; x < at.X+at.W; x++ {
		for y := at.Y; y < at.Y+at.H; y++ {
			if other, is := taken[[2]int{x, y}]; is {
				t.Errorf("%s: panels %q and %q lie on each other", b.file, p.Title, other)
				return
			}
			taken[[2]int{x, y}] = p.Title
		}
	}
}
