//go:build p2pd_faults

package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// The work of the process that is killed: blobs arrive in a store that has no
// room for all, out of order, one of them with a pause. The second life resumes
// what the first left.
const killCapacity = 9 * mib

func killSamples(t testing.TB) []sample {
	return []sample{newSample(t, 11, 3*mib+7), newSample(t, 12, 2*mib), newSample(t, 13, 5*mib), newSample(t, 14, mib/2), newSample(t, 15, 4*mib)}
}

// TestFaultsVictim is the process that is killed; the tests below start it. It
// prints "have BLOB PIECE" for each piece once it has arrived, "whole BLOB" for
// each blob once it has been committed.
func TestFaultsVictim(t *testing.T) {
	dir := os.Getenv("P2PD_FAULT_STORE_DIR")
	if dir == "" {
		t.Skip("only tests that kill it start it")
	}
	st := open(t, store.Config{Dir: dir, Capacity: killCapacity})
	for n, s := range killSamples(t) {
		in, err := st.Ingest(t.Context(), s.digest, s.layout)
		if err != nil {
			t.Fatal(err)
		}
		for k, i := range outOfOrder(s.layout.Count()) {
			if _, err := in.Receive(t.Context(), i, bytes.NewReader(s.piece(i)), piece.Sum(s.piece(i))); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("have %d %d\n", n, i)
			if n == 2 && k == 1 { // close it half-way and go on
				if err := in.Close(); err != nil {
					t.Fatal(err)
				}
				if in, err = st.Ingest(t.Context(), s.digest, s.layout); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := in.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("whole %d\n", n)
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// outOfOrder is every second piece, then the others.
func outOfOrder(n int) (order []int) {
	for _, first := range []int{0, 1} {
		for i := first; i < n; i += 2 {
			order = append(order, i)
		}
	}
	return order
}

// victim runs the process until it ends or dies at a failpoint ("POINT:N"), and
// returns what it said and what its failpoints wrote down.
func victim(t *testing.T, dir, kill string) (said, log []string) {
	t.Helper()
	logFile := filepath.Join(t.TempDir(), "log")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultsVictim$", "-test.v")
	cmd.Env = append(os.Environ(), "P2PD_FAULT_STORE_DIR="+dir, "P2PD_FAULT_STORE_KILL="+kill, "P2PD_FAULT_STORE_LOG="+logFile)
	out, err := cmd.Output()
	exit, ended := errors.AsType[*exec.ExitError](err)
	killed := ended && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if killed != (kill != "") || err != nil && !killed {
		t.Fatalf("the victim of %q ended with %v:\n%s", kill, err, out)
	}
	b, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	return lines(string(out)), lines(string(b))
}

func lines(s string) (all []string) {
	for sc := bufio.NewScanner(strings.NewReader(s)); sc.Scan(); {
		all = append(all, sc.Text())
	}
	return all
}

// points are the failpoints that a life of the victim comes to, and how often.
func points(t *testing.T) map[string]int {
	_, log := victim(t, t.TempDir(), "")
	count := make(map[string]int)
	for _, l := range log {
		if point, ok := strings.CutPrefix(l, "at "); ok {
			count[point]++
		}
	}
	return count
}

// Killed at any point, the store has lost no piece that had arrived but for the
// one at hand, and gives no wrong byte.
func TestFaultsKill(t *testing.T) {
	for point, times := range points(t) {
		for _, n := range slices.Compact([]int{1, (times + 1) / 2, times}) {
			t.Run(fmt.Sprintf("%s %d", point, n), func(t *testing.T) {
				dir := t.TempDir()
				said, _ := victim(t, dir, fmt.Sprintf("%s:%d", point, n))
				inspect(t, dir, said)
			})
		}
	}
}

// A power cut at any point takes with it what was not synced: bytes that are
// zero, files that are short, names that are gone or still the old ones.
// Nothing that is left is given to anybody unless it is right, and the work can
// go on.
func TestFaultsPowerCut(t *testing.T) {
	for point, times := range points(t) {
		for seed := range uint64(8) {
			rng := rand.New(rand.NewPCG(seed, uint64(times)))
			n := 1 + rng.IntN(times)
			t.Run(fmt.Sprintf("%s %d seed %d", point, n, seed), func(t *testing.T) {
				dir := t.TempDir()
				_, log := victim(t, dir, fmt.Sprintf("%s:%d", point, n))
				loseUnsynced(t, dir, log, rng)
				inspect(t, dir, nil)
			})
		}
	}
}

// loseUnsynced does to a store what a power cut may do to it.
func loseUnsynced(t *testing.T, dir string, log []string, rng *rand.Rand) {
	t.Helper()
	synced := make(map[string]bool) // by blob and kind: a rename keeps it
	for _, l := range log {
		if file, ok := strings.CutPrefix(l, "sync "); ok {
			synced[kindOf(file)] = true
		}
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == "lock" {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || synced[kindOf(rel)] {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		size := info.Size()
		if strings.HasSuffix(path, ".state") && rng.IntN(4) > 0 {
			return nil // notes that outlive what they are about are the worst
		}
		switch rng.IntN(5) {
		case 0:
			return os.Remove(path)
		case 1:
			return os.Truncate(path, rng.Int64N(size+1))
		case 2:
			from := rng.Int64N(size + 1)
			return errors.Join(os.Truncate(path, from), os.Truncate(path, size)) // zeros from there
		case 3: // blocks in the middle
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			from := rng.Int64N(size + 1)
			_, err = f.WriteAt(make([]byte, min(4096, size-from)), from)
			return errors.Join(err, f.Close())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	undoRename(t, dir, log, rng)
}

// kindOf names the bytes or the notes of a blob, whatever they are called now.
func kindOf(file string) string {
	base := filepath.Base(file)
	stem, ext, _ := strings.Cut(base, ".")
	if ext == "part" {
		ext = ""
	}
	return stem + "." + ext
}

// undoRename takes back the last rename of a whole blob, if its folders were not
// synced after it.
func undoRename(t *testing.T, dir string, log []string, rng *rand.Rand) {
	t.Helper()
	last := ""
	for _, l := range log {
		file, ok := strings.CutPrefix(l, "sync ")
		switch {
		case !ok:
		case strings.HasSuffix(file, ".part"):
			last = strings.TrimSuffix(filepath.Base(file), ".part")
		case file == "blobs/sha256":
			last = ""
		}
	}
	whole := filepath.Join(dir, "blobs", "sha256", last)
	if _, err := os.Stat(whole); last == "" || err != nil || rng.IntN(2) == 0 {
		return
	}
	if err := os.Rename(whole, filepath.Join(dir, "ingest", last+".part")); err != nil {
		t.Fatal(err)
	}
}

// inspect opens what is left. Each piece that said names must be there unless
// its blob was evicted; nothing may be wrong; and all work can be done again.
func inspect(t *testing.T, dir string, said []string) {
	t.Helper()
	st := open(t, store.Config{Dir: dir, Capacity: killCapacity})
	samples := killSamples(t)
	had := make([]map[int]bool, len(samples))
	newest := -1
	for _, l := range said {
		var n, i int
		if _, err := fmt.Sscanf(l, "have %d %d", &n, &i); err == nil {
			if had[n] == nil {
				had[n] = make(map[int]bool)
			}
			had[n][i] = true
			newest = max(newest, n)
		}
	}
	for n, s := range samples {
		if blob, err := st.Open(s.digest); err == nil {
			if err := blob.Check(t.Context(), 0, int64(len(s.bytes))); err == nil {
				expectWhole(t, st, s)
			} else if said != nil {
				t.Errorf("blob %d was damaged by no more than a kill: %v", n, err)
			}
			_ = blob.Close()
			continue
		}
		if n == newest && len(had[n]) > 0 {
			in := begin(t, st, s)
			have := in.Have()
			for i := range had[n] {
				if !have.Has(i) {
					t.Errorf("piece %d of blob %d had arrived and is gone", i, n)
				}
			}
			_ = in.Close()
		}
	}
	for _, s := range samples {
		resume(t, st, s)
	}
}

// resume completes a blob, whatever there is of it, and reads all of it.
func resume(t *testing.T, st *store.Store, s sample) {
	t.Helper()
	in, err := st.Ingest(t.Context(), s.digest, s.layout)
	if errors.Is(err, peer.ErrNotHeld) { // it was whole, and wrong
		in, err = st.Ingest(t.Context(), s.digest, s.layout)
	}
	if err != nil {
		t.Fatalf("ingest: %v", err)
	}
	defer in.Close()
	r, err := in.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	have := in.Have()
	for i := range have.All() {
		off, length := s.layout.Bounds(i)
		got := make([]byte, length)
		if _, err := r.(*os.File).ReadAt(got, off); err != nil || !bytes.Equal(got, s.piece(i)) {
			t.Fatalf("piece %d is said to be here, and is wrong (%v)", i, err)
		}
	}
	for i := range s.layout.Count() {
		receive(t, in, s, i)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	expectWhole(t, st, s)
}
