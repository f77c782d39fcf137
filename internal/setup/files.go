package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Files is the file system as this package uses it: few operations, each of
// which a machine may die after. Names are absolute.
type Files interface {
	ReadFile(name string) ([]byte, error)
	// List names what is in a folder, in order; none where there is no such
	// folder.
	List(dir string) ([]string, error)
	// Resolve follows symbolic links. The error is fs.ErrNotExist where
	// nothing is.
	Resolve(name string) (string, error)
	Mkdir(name string) error
	// Write writes a new file and syncs it, with mode and owner of the file
	// like, if that is not "".
	Write(name string, data []byte, like string) error
	Rename(from, to string) error
	Remove(name string) error // a file, or an empty folder
	// Sync makes a folder's names durable.
	Sync(dir string) error
	// Lock keeps others out of a folder until unlock.
	Lock(dir string) (unlock func(), err error)
}

// Disk is the real file system.
type Disk struct{}

// ReadFile implements Files.
func (Disk) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// List implements Files.
func (Disk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Resolve implements Files.
func (Disk) Resolve(name string) (string, error) { return filepath.EvalSymlinks(name) }

// Mkdir implements Files. Container runtimes read as root, people as anybody.
func (Disk) Mkdir(name string) error {
	return os.Mkdir(name, 0o755) //nolint:gosec // certs.d holds nothing secret
}

// Write implements Files.
func (Disk) Write(name string, data []byte, like string) (err error) {
	mode, uid, gid := fs.FileMode(0o644), -1, -1
	if like != "" {
		var st unix.Stat_t
		if err := unix.Stat(like, &st); err != nil {
			return fmt.Errorf("stat %s: %w", like, err)
		}
		mode, uid, gid = fs.FileMode(st.Mode&0o777), int(st.Uid), int(st.Gid)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Chown(uid, gid), f.Sync())
	return errors.Join(err, f.Close())
}

// Rename implements Files.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements Files.
func (Disk) Remove(name string) error { return os.Remove(name) }

// Sync implements Files.
func (Disk) Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Lock implements Files, by flock on the folder itself: no file of ours stays
// behind.
func (Disk) Lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// temporary is how names of ours begin while they are being written. Neither
// containerd nor anybody else looks at them.
const temporary = ".p2pd-tmp-"

// put writes a file whole or not at all: what dies in between leaves the old
// one, or none. It makes the folders above it, and says how many: a missing
// folder comes with the file in it, so that there is never an empty one, which
// would hide _default from containerd.
func put(f Files, name string, data []byte, exists bool) error {
	like := ""
	if exists {
		resolved, err := f.Resolve(name)
		if err != nil {
			return err
		}
		name, like = resolved, resolved
	}
	dir := filepath.Dir(name)
	top, missing, err := missingAbove(f, dir)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		tmp := filepath.Join(dir, temporary+filepath.Base(name))
		if err := errors.Join(f.Write(tmp, data, like)); err != nil {
			return err
		}
		if err := f.Rename(tmp, name); err != nil {
			return err
		}
		return f.Sync(dir)
	}
	// The tree grows under a temporary name, and is moved as one.
	tmp := filepath.Join(top, temporary+missing[0])
	if err := discard(f, tmp); err != nil {
		return err
	}
	at := tmp
	for i := range missing {
		if i > 0 {
			at = filepath.Join(at, missing[i])
		}
		if err := f.Mkdir(at); err != nil {
			return err
		}
	}
	if err := f.Write(filepath.Join(at, filepath.Base(name)), data, ""); err != nil {
		return err
	}
	if err := f.Sync(at); err != nil {
		return err
	}
	if err := f.Rename(tmp, filepath.Join(top, missing[0])); err != nil {
		return err
	}
	return f.Sync(top)
}

// missingAbove splits dir into the part that exists and the rest.
func missingAbove(f Files, dir string) (top string, missing []string, err error) {
	for top = dir; ; top = filepath.Dir(top) {
		_, err := f.Resolve(top)
		if err == nil {
			return top, missing, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || top == filepath.Dir(top) {
			return "", nil, err
		}
		missing = append([]string{filepath.Base(top)}, missing...)
	}
}

// discard removes what a run that died left under a temporary name.
func discard(f Files, name string) error {
	if !strings.HasPrefix(filepath.Base(name), temporary) {
		return fmt.Errorf("%s is not ours to remove", name)
	}
	return removeAll(f, name)
}

func removeAll(f Files, name string) error {
	if _, err := f.Resolve(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names, err := f.List(name)
	if err != nil && !errors.Is(err, unix.ENOTDIR) {
		return err
	}
	for _, n := range names {
		if err := removeAll(f, filepath.Join(name, n)); err != nil {
			return err
		}
	}
	return f.Remove(name)
}

// sweep removes what runs that died left in a folder.
func sweep(f Files, dir string) error {
	names, err := f.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, temporary) {
			if err := discard(f, filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}
