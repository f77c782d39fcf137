package p2pd_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestBoundsAreThoseOfTheCode: each constant that docs/bounds.md names is there,
// and its value stands in the same row.
func TestBoundsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/bounds.md")
	if err != nil {
		t.Fatal(err)
	}
	code := programConstants(t)
	name := regexp.MustCompile("`([a-z]+\\.[A-Za-z]+)`")
	seen := 0
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(row, "|")
		if len(cells) < 5 {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			if m[1] == "peer.uploadSlots" { // a key of the configuration
				continue
			}
			seen++
			v := code.value(m[1])
			if v.Kind() != constant.Int {
				t.Errorf("the code has no number %s", m[1])
			} else if n, _ := constant.Int64Val(v); !says(cells[1]+cells[2], n) {
				t.Errorf("%s is %d, but its row says %q", m[1], n, strings.TrimSpace(cells[2]))
			}
		}
	}
	if seen < 60 {
		t.Errorf("docs/bounds.md names only %d constants", seen)
	}
}

// says reports whether a text has a number as such, as an amount of bytes, or,
// for a time.Duration, as a time.
func says(text string, n int64) bool {
	forms := []string{grouped(n)}
	for unit, name := range map[int64]string{
		1 << 10: "KiB", 1 << 20: "MiB",
		int64(time.Millisecond): "ms", int64(time.Second): "s", int64(time.Minute): "min",
	} {
		if n >= unit && n%unit == 0 {
			forms = append(forms, grouped(n/unit)+" "+name)
		}
	}
	for _, f := range forms {
		if regexp.MustCompile(`(^|[^\d,])` + f + `($|[^\d,]|,\D)`).MatchString(text) {
			return true
		}
	}
	return false
}

// grouped writes a number with commas: 16,384.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return grouped(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

// constants are the expressions of a program's constants, by package.Name.
type constants map[string]ast.Expr

// programConstants reads those of all packages of the programs. A name that
// several packages of one name give is the one that is read last.
func programConstants(t *testing.T) constants {
	t.Helper()
	all := constants{}
	for _, dir := range []string{"internal", "pkg"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			all.add(f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (c constants) add(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			spec := s.(*ast.ValueSpec)
			for i, value := range spec.Values {
				c[f.Name.Name+"."+spec.Names[i].Name] = value
			}
		}
	}
}

// value is the number that a constant stands for, or of kind constant.Unknown.
func (c constants) value(name string) constant.Value {
	pkg, _, _ := strings.Cut(name, ".")
	return c.eval(pkg, c[name])
}

func (c constants) eval(pkg string, e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return c.eval(pkg, e.X)
	case *ast.Ident:
		return c.value(pkg + "." + e.Name)
	case *ast.SelectorExpr:
		return c.selected(fmt.Sprint(e.X), e.Sel.Name)
	case *ast.BinaryExpr:
		x, y := c.eval(pkg, e.X), c.eval(pkg, e.Y)
		if x.Kind() != constant.Int || y.Kind() != constant.Int {
			return constant.MakeUnknown()
		}
		if by, _ := constant.Uint64Val(y); e.Op == token.SHL {
			return constant.Shift(x, e.Op, uint(by))
		}
		if e.Op == token.QUO {
			return constant.BinaryOp(x, token.QUO_ASSIGN, y) // of integers
		}
		return constant.BinaryOp(x, e.Op, y)
	}
	return constant.MakeUnknown()
}

// selected is a constant of another package: of ours, or one that the limits use.
func (c constants) selected(pkg, name string) constant.Value {
	switch pkg + "." + name {
	case "time.Millisecond":
		return constant.MakeInt64(int64(time.Millisecond))
	case "time.Second":
		return constant.MakeInt64(int64(time.Second))
	case "time.Minute":
		return constant.MakeInt64(int64(time.Minute))
	case "math.MaxUint8":
		return constant.MakeInt64(255)
	}
	return c.value(pkg + "." + name)
}
