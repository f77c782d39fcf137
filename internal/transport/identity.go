package transport

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/libp2p/go-libp2p/core/crypto"
	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// maxKeyFile bounds what is read of a key file. A marshalled Ed25519 key has
// 68 bytes; the rest is room to name other key types in the error.
const maxKeyFile = 4 << 10

// loadIdentity reads the private key in path, or makes one there. The file
// holds libp2p's protobuf form of an Ed25519 key:
//
//	offset  size  meaning
//	0       2     08 01: key type 1, Ed25519
//	2       2     12 40: 64 bytes follow
//	4       32    seed
//	36      32    public key
func loadIdentity(path string) (crypto.PrivKey, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeIdentity(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: others may read or change it, want 0600", path, perm)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	if key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("key file %s holds a key of type %s, want Ed25519", path, key.Type())
	}
	return key, nil
}

// IdentityOf is the peer ID of the key in path, which is made if there is none.
func IdentityOf(path string) (scheduler.PeerID, error) {
	key, err := loadIdentity(path)
	if err != nil {
		return "", err
	}
	id, err := libpeer.IDFromPrivateKey(key)
	return scheduler.PeerID(id.String()), err
}

// makeIdentity writes a new key. The file appears whole or not at all: half
// a key would stop every later start.
func makeIdentity(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("marshal key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make key directory: %w", err)
	}
	if err := renameio.WriteFile(path, raw, 0o600); err != nil {
		return nil, fmt.Errorf("write key file: %w", err)
	}
	return key, nil
}
