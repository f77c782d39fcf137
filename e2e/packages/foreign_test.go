package packages_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// platform is what packages, programs and qemu call an architecture.
type platform struct {
	deb, rpm, qemu string
	machine        elf.Machine
}

var platforms = map[string]platform{
	"amd64": {"amd64", "x86_64", "qemu-x86_64", elf.EM_X86_64},
	"arm64": {"arm64", "aarch64", "qemu-aarch64", elf.EM_AARCH64},
}

// TestForeign looks into the packages that are not for this machine: they have what
// this machine's have, and programs of the architecture that they name, which run.
func TestForeign(t *testing.T) {
	ctx := gate(t)
	if os.Getenv("P2PD_E2E_FOREIGN") == "" {
		t.Skip("builds all for another architecture: run 'sudo make e2e-packages'")
	}
	arch := "arm64"
	if runtime.GOARCH == arch {
		arch = "amd64"
	}
	want := platforms[arch]
	dir := t.TempDir()
	build(ctx, t, "0.1.0", dir, arch)
	say := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			t.Fatalf("%s %v: %v", name, args, err)
		}
		return strings.TrimSpace(string(out))
	}
	// unpacked is what is in a package: a file of dpkg's or of rpm's.
	unpacked := func(file string) string {
		t.Helper()
		into := t.TempDir()
		if strings.HasSuffix(file, ".deb") {
			say("dpkg-deb", "-x", file, into)
		} else {
			say("sh", "-euc", `rpm2archive - <"$1" | tar -xz -C "$2"`, "sh", file, into)
		}
		return into
	}
	for _, kind := range []string{"deb", "rpm"} {
		for _, name := range []string{"p2pd", "p2pd-scheduler", "p2pctl"} {
			pattern := map[string]string{"deb": name + "_*.deb", "rpm": name + "-[0-9]*.rpm"}[kind]
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			own, err2 := filepath.Glob(filepath.Join(pack(ctx, t, "0.1.0"), pattern))
			if err != nil || err2 != nil || len(found) != 1 || len(own) != 1 {
				t.Fatalf("%s: %v and %v, %v, %v; want one of each architecture", pattern, found, own, err, err2)
			}
			says, named := want.deb, ""
			if kind == "deb" {
				named = say("dpkg-deb", "-f", found[0], "Architecture")
			} else {
				says, named = want.rpm, say("rpm", "-qp", "--nosignature", "--qf", "%{ARCH}", found[0])
			}
			if named != says {
				t.Errorf("%s is for %q, want %q", filepath.Base(found[0]), named, says)
			}
			theirs := unpacked(found[0])
			if diff := cmp.Diff(tree(t, unpacked(own[0])), tree(t, theirs)); diff != "" {
				t.Errorf("%s lacks (-) or has more (+) than this machine's:\n%s", filepath.Base(found[0]), diff)
			}
			at := filepath.Join(theirs, "usr/bin", name)
			f, err := elf.Open(at)
			if err != nil {
				t.Fatalf("%s: %v", filepath.Base(found[0]), err)
			}
			if f.Machine != want.machine {
				t.Errorf("%s of %s is for %v, want %v", name, filepath.Base(found[0]), f.Machine, want.machine)
			}
			f.Close()
			program := strings.TrimPrefix(name, "p2pd-") // as it calls itself
			if said := say(want.qemu, at, "--version"); !strings.HasPrefix(said, program+" version ") {
				t.Errorf("%s --version of %s says %q", name, filepath.Base(found[0]), said)
			}
		}
	}
}

// tree is what lies below a folder: names, modes, and the bytes of small files. Those
// of programs differ.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		what := info.Mode().String()
		if info.Mode().IsRegular() && !strings.HasPrefix(rel, "usr/bin/") {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			what += " " + string(bytes.TrimSpace(text))
		}
		all[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
