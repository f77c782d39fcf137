package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// What is wrong is named, with the way out.
func TestUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"-version 0.1.0":        nil,
		"a version without v":   {"-version", "v1"},
		"flag provided but not": {"-verson", "1"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	t.Setenv("P2PD_SERVER", "unix:///elsewhere")
	if err := run(t.Context(), []string{"-version", "1"}, io.Discard); err == nil || !strings.Contains(err.Error(), "P2PD_SERVER is set") {
		t.Errorf("with P2PD_SERVER: %v", err)
	}
	t.Setenv("P2PD_SERVER", "")
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if err := run(t.Context(), []string{"-version", "1"}, io.Discard); err == nil || !strings.Contains(err.Error(), `"yesterday"`) {
		t.Errorf("with a date that is none: %v", err)
	}
}

// Every command that an operator may type has a page, and each shell its
// completion.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, p := range products {
		dir := t.TempDir()
		if err := writeManual(p.command(), p.section, options{version: "1", date: time.Unix(0, 0)}, dir); err != nil {
			t.Fatal(err)
		}
		pages, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, sub := range p.command().Commands() {
			if sub.IsAvailableCommand() {
				want++
			}
		}
		if len(pages) <= want || want == 0 {
			t.Errorf("%s has %d pages for %d commands and itself", p.name, len(pages), want)
		}
		if err := writeCompletions(p.command(), dir); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{p.name, "_" + p.name, p.name + ".fish"} {
			if text, err := os.ReadFile(dir + "/" + file); err != nil || !strings.Contains(string(text), p.name) {
				t.Errorf("completion %s: %v", file, err)
			}
		}
	}
}
