// Package wiretest holds what is sent now against what earlier versions sent,
// which is on record beside the tests: a wire may grow, but must not change.
package wiretest

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// record names the file of testdata/wire that what is sent now is written to: do so
// with a release, and when a message has changed. Earlier files stay.
var record = flag.String("record", "", "write testdata/wire/`NAME`.txt")

// Recordings calls understands for each message on record, in any file of
// testdata/wire, which fails unless the bytes say what they said then; and fails
// if one of now, what is sent by its name, is on no record.
func Recordings(t *testing.T, now map[string][]byte, understands func(t *testing.T, name string, wire []byte)) {
	t.Helper()
	if *record != "" {
		write(t, *record, now)
	}
	files, err := filepath.Glob("testdata/wire/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is on record: %v", err)
	}
	known := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, code, _ := strings.Cut(strings.TrimSpace(line), ": ")
			wire, err := hex.DecodeString(code)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) { understands(t, name, wire) })
			known[name] = known[name] || bytes.Equal(now[name], wire)
		}
	}
	for name := range now {
		if !known[name] {
			t.Errorf("what is sent for %q is on no record: if that is meant, and whoever does not know it ignores it, run this test with -record", name)
		}
	}
}

func write(t *testing.T, name string, now map[string][]byte) {
	t.Helper()
	var text bytes.Buffer
	for _, message := range slices.Sorted(maps.Keys(now)) {
		fmt.Fprintf(&text, "%s: %x\n", message, now[message])
	}
	if err := os.WriteFile(filepath.Join("testdata", "wire", name+".txt"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
