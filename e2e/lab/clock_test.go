package lab

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ticking says for each line that it reads what the time is, and whether as much has passed
// by time.Since as by nothing.
const ticking = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	begin := time.Now()
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		fmt.Println(time.Now().Unix(), int(time.Since(begin).Hours()))
	}
}
`

// A program's wall clock steps while it runs; what it measures does not.
func TestClock(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the standard library")
	}
	t.Parallel()
	dir := t.TempDir()
	overlay, remove, err := clockOverlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	source, program := filepath.Join(dir, "ticking.go"), filepath.Join(dir, "ticking")
	if err := os.WriteFile(source, []byte(ticking), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c, err := (&Lab{Dir: dir}).NewClock("x")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), c.Env())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for _, step := range []time.Duration{0, 8 * 24 * time.Hour, -8 * 24 * time.Hour, 0} {
		if err := c.Set(step); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("\n")); err != nil || !said.Scan() {
			t.Fatalf("it says nothing: %v, %v", err, said.Err())
		}
		wall, passed, _ := strings.Cut(said.Text(), " ")
		seconds, err := strconv.ParseInt(wall, 10, 64)
		if off := time.Until(time.Unix(seconds, 0)) - step; err != nil || off.Abs() > 15*time.Minute || passed != "0" {
			t.Errorf("after a step of %v it says %q", step, said.Text())
		}
	}
	_ = in.Close() // it ends
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
