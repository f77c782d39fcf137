package web

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/p2pd/p2pd/internal/api"
)

var update = flag.Bool("update", false, "rewrite openapi.yaml")

type object = map[string]any

// The document is the routes and the types of internal/api, and what their
// comments say; go test -update writes it.
func TestTheDocumentIsTrue(t *testing.T) {
	w := &writer{schemas: object{}, comments: comments(t)}
	paths := object{}
	for _, rt := range New(Config{}).routes() {
		path, _ := paths[rt.path].(object)
		if path == nil {
			path = object{}
			paths[rt.path] = path
		}
		path[strings.ToLower(rt.method)] = w.operation(rt)
	}
	paths["/openapi.yaml"] = object{"get": object{
		"summary":   "This document",
		"responses": object{"200": object{"description": "OpenAPI", "content": object{"application/yaml": object{}}}},
	}}
	doc := object{
		"openapi": "3.0.3",
		"info": object{
			"title": "p2pd admin", "version": "v1",
			"description": "What the scheduler and p2pd tell operators, and let them change. A program that is one of the two answers the other's paths with 404.",
		},
		"servers":    []object{{"url": api.Prefix}},
		"security":   []object{{"token": []string{}}},
		"paths":      paths,
		"components": object{"schemas": w.schemas, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	}
	want, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	want = append([]byte("# Written by go test ./internal/web -run TestTheDocumentIsTrue -update.\n"), want...)
	if *update {
		if err := os.WriteFile("openapi.yaml", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(document)); diff != "" {
		t.Errorf("openapi.yaml is not what the code is (go test -update writes it; -code +file):\n%s", diff)
	}
}

// writer gathers schemas.
type writer struct {
	schemas  object
	comments map[string]string // "Type" and "Type.Field"
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

func (w *writer) operation(rt route) object {
	op := object{"summary": rt.summary, "tags": tags(rt.of)}
	var params []object
	for _, m := range inPath.FindAllStringSubmatch(rt.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range rt.query {
		params = append(params, object{"name": p.name, "in": "query", "description": p.text, "schema": object{"type": p.kind}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if rt.takes != nil {
		op["requestBody"] = object{"required": true, "content": w.json(rt.takes)}
	}
	op["responses"] = object{
		"200":     object{"description": "OK", "content": w.answer(rt)},
		"default": object{"description": "it failed", "content": w.json(api.Error{})},
	}
	return op
}

func (w *writer) answer(rt route) object {
	if rt.stream != nil {
		return object{"text/event-stream": object{"schema": w.schema(reflect.TypeOf(rt.returns))}}
	}
	return w.json(rt.returns)
}

func tags(p part) (names []string) {
	if p&ofScheduler != 0 {
		names = append(names, "scheduler")
	}
	if p&ofNode != 0 {
		names = append(names, "node")
	}
	return names
}

func (w *writer) json(v any) object {
	return object{"application/json": object{"schema": w.schema(reflect.TypeOf(v))}}
}

func (w *writer) schema(v reflect.Type) object {
	switch v.Kind() {
	case reflect.Pointer:
		return w.schema(v.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": w.schema(v.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Struct:
	default:
		panic("no schema for " + v.String())
	}
	if v == reflect.TypeFor[time.Time]() {
		return object{"type": "string", "format": "date-time"}
	}
	name := v.Name()
	ref := object{"$ref": "#/components/schemas/" + name}
	if _, known := w.schemas[name]; known {
		return ref
	}
	s := object{"type": "object"}
	w.schemas[name] = s
	if c := w.comments[name]; c != "" {
		s["description"] = c
	}
	properties := object{}
	var required []string
	w.fields(v, properties, &required)
	s["properties"] = properties
	if required != nil {
		s["required"] = required
	}
	return ref
}

// fields adds those of v, and of what is embedded in it.
func (w *writer) fields(v reflect.Type, properties object, required *[]string) {
	for f := range v.Fields() {
		if f.Anonymous {
			w.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, twice := properties[name]; twice || name == "" {
			panic(v.Name() + "." + f.Name + ": no name of its own")
		}
		p := w.schema(f.Type)
		if c := w.comments[v.Name()+"."+f.Name]; c != "" {
			if p["$ref"] != nil { // 3.0 ignores what stands beside a reference
				p = object{"allOf": []object{p}}
			}
			p["description"] = c
		}
		properties[name] = p
		if options != "omitempty" {
			*required = append(*required, name)
		}
	}
}

// comments are those of internal/api's types and of their fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	files, err := filepath.Glob("../api/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range decl.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					addComments(found, decl, ts)
				}
			}
			return false
		})
	}
	return found
}

func addComments(found map[string]string, decl *ast.GenDecl, ts *ast.TypeSpec) {
	found[ts.Name.Name] = text(decl.Doc)
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			found[ts.Name.Name+"."+n.Name] = strings.TrimSpace(text(f.Doc) + " " + text(f.Comment))
		}
	}
}

func text(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
