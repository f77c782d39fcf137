package lab

import (
	"archive/tar"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// applets are the names that busybox gets in the image.
var applets = []string{"sh", "cat", "echo", "ls", "id", "sleep", "true", "uname", "sha256sum"}

// baseLayer is what a container needs to run: busybox, if the machine has a
// static one, and a passwd file. It is compressed, as layers in the wild are.
func baseLayer() (*layer, error) {
	shell := staticBusybox()
	return newLayer(true, func(w io.Writer) error {
		t := tar.NewWriter(w)
		if err := textFile(t, "etc/passwd", "root:x:0:0:root:/:/bin/sh\n"); err != nil {
			return err
		}
		if shell != "" {
			if err := copyFile(t, "bin/busybox", shell); err != nil {
				return err
			}
			for _, a := range applets {
				link := tarHeader("bin/"+a, 0o777, 0)
				link.Typeflag, link.Linkname = tar.TypeSymlink, "busybox"
				if err := t.WriteHeader(link); err != nil {
					return err
				}
			}
		}
		return t.Close()
	})
}

// staticBusybox is the path of a busybox that runs without libraries, or
// empty.
func staticBusybox() string {
	for _, name := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		f, err := elf.Open(name)
		if err != nil {
			continue
		}
		libraries, err := f.ImportedLibraries()
		_ = f.Close() // was only read
		if err == nil && len(libraries) == 0 {
			return name
		}
	}
	return ""
}

// file is one file of the machine, by its path in the image.
type file struct {
	name string // in the image
	path string // on the machine
	size int64
}

// bytes is what the file takes in a tar: header and padded content.
func (f file) bytes() int64 { return tarBlock + (f.size+tarBlock-1)/tarBlock*tarBlock }

// treeLayers cuts the tree at root into layers of exactly share bytes each:
// files in order as far as they fit, then random bytes.
func treeLayers(root string, layers int, share int64) ([]*layer, error) {
	files, err := listTree(root)
	if err != nil {
		return nil, err
	}
	var made []*layer
	for i := range layers {
		var take []file
		room := share - tarOverhead
		for len(files) > 0 {
			next := files[0].bytes()
			if next > room && next <= share/2 {
				break // begins the next layer
			}
			if next <= room {
				take, room = append(take, files[0]), room-next
			}
			files = files[1:] // taken, or too large for any layer
		}
		l, err := fileLayer(take, uint64(i), room)
		if err != nil {
			return nil, err
		}
		made = append(made, l)
	}
	return made, nil
}

func fileLayer(files []file, seed uint64, padding int64) (*layer, error) {
	return newLayer(false, func(w io.Writer) error {
		t := tar.NewWriter(w)
		for _, f := range files {
			if err := copyFile(t, f.name, f.path); err != nil {
				return err
			}
		}
		if err := randomFile(t, fmt.Sprintf("data/padding-%d", seed), seed, padding); err != nil {
			return err
		}
		return t.Close()
	})
}

// listTree is every regular file below root with a name short enough for one
// plain tar header, the largest first: a lab's nodes share one machine, and
// unpacking thousands of small files eight times over would take more of it
// than the pull that is to be seen.
func listTree(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := "go" + filepath.ToSlash(strings.TrimPrefix(path, root))
		if len(name) <= maxPlainName && isASCII(name) {
			files = append(files, file{name: name, path: path, size: info.Size()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files for the image: %w", err)
	}
	slices.SortStableFunc(files, func(a, b file) int { return cmp.Compare(b.size, a.size) })
	return files, nil
}

// maxPlainName is the longest name that needs no second tar header.
const maxPlainName = 100

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 126 || r < 32 }) < 0
}

func textFile(t *tar.Writer, name, content string) error {
	if err := t.WriteHeader(tarHeader(name, 0o644, int64(len(content)))); err != nil {
		return err
	}
	_, err := io.WriteString(t, content)
	return err
}

func copyFile(t *tar.Writer, name, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(tarHeader(name, int64(info.Mode().Perm()), info.Size())); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
