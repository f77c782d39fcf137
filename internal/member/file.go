package member

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// maxFile bounds what is read of files here: keys, tokens and credentials
// have some hundred bytes, a platform's token some thousand.
const maxFile = 64 << 10

// OpenKey reads the private key in path, or makes one there; made says which.
// Others must not be able to read the file.
func OpenKey(path string) (k Key, made bool, err error) {
	text, err := readFile(path, true, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = makeKey(path)
		return k, err == nil, err
	}
	if err != nil {
		return Key{}, false, err
	}
	if k, err = ParseKey(text); err != nil {
		return Key{}, false, fmt.Errorf("cluster key %s: %w", path, err)
	}
	return k, false, nil
}

// makeKey writes a new key. The file appears whole or not at all.
func makeKey(path string) (Key, error) {
	k, err := NewKey()
	if err != nil {
		return Key{}, err
	}
	text, err := k.PEM()
	if err != nil {
		return Key{}, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Key{}, fmt.Errorf("make folder for the cluster key: %w", err)
	}
	if err := renameio.WriteFile(path, text, 0o600); err != nil {
		return Key{}, fmt.Errorf("write cluster key: %w", err)
	}
	return k, nil
}

// ReadToken reads a token from a file. Platforms renew theirs in place, so it
// is read each time that it is needed.
func ReadToken(path string) (string, error) {
	text, err := readFile(path, false, maxFile)
	if err != nil {
		return "", err
	}
	if text = trim(text); len(text) == 0 {
		return "", fmt.Errorf("token file %s is empty", path)
	}
	return string(text), nil
}

// ReadPublic reads a pin from a file, as ParsePublic does.
func ReadPublic(path string) (Public, error) {
	text, err := readFile(path, false, maxFile)
	if err != nil {
		return Public{}, err
	}
	p, err := ParsePublic(text)
	if err != nil {
		return Public{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func trim(b []byte) []byte { return bytes.TrimSpace(b) }

func readFile(path string, private bool, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	// A group may be given the file on purpose, as Kubernetes does with
	// secrets for a pod's fsGroup; all others may not.
	if perm := info.Mode().Perm(); private && perm&0o037 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: others may read or change it, want 0600 or 0640", path, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return b, nil
}
