package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/internal/transport"
)

// cluster is the closed cluster that all daemons of a lab belong to.
type cluster struct {
	key       member.Key
	keyFile   string // the scheduler's
	tokenFile string // the nodes'
	open      bool   // after all: nobody is asked for either
}

// newCluster makes a cluster's key and a token for the nodes.
func (l *Lab) newCluster() (c cluster, err error) {
	c.open = l.Open
	dir, err := l.mkdir("cluster")
	if err != nil {
		return c, err
	}
	c.keyFile, c.tokenFile = filepath.Join(dir, "key"), filepath.Join(dir, "token")
	if c.key, _, err = member.OpenKey(c.keyFile); err != nil {
		return c, err
	}
	t, err := c.key.Mint(time.Time{})
	if err != nil {
		return c, fmt.Errorf("make join token: %w", err)
	}
	return c, os.WriteFile(c.tokenFile, []byte(t.Reveal()), 0o600)
}

// guard is what the scheduler's configuration has under membership.
func (c cluster) guard() map[string]any {
	if c.open {
		return map[string]any{"mode": "open"}
	}
	return map[string]any{"keyFile": c.keyFile}
}

// pass is what a node's configuration has under membership.
func (c cluster) pass() map[string]any {
	if c.open {
		return map[string]any{}
	}
	return map[string]any{"tokenFile": c.tokenFile}
}

// Cluster is the name that all daemons pin.
func (l *Lab) Cluster() member.Public { return l.cluster.key.Public() }

// Credential is what a scheduler would give to that peer, good for an hour.
func (l *Lab) Credential(peer string) ([]byte, error) {
	now := time.Now()
	return l.cluster.key.Sign(member.Credential{Peer: peer, Node: "lab", Issued: now, Expires: now.Add(time.Hour)})
}

// Enrol gives node i, which must not run, the credential that it would have
// from a scheduler that is gone by now.
func (l *Lab) Enrol(i int) error {
	store, err := l.mkdir(filepath.Join(l.Net.Nodes[i].Name, "store"))
	if err != nil {
		return err
	}
	id, err := transport.IdentityOf(filepath.Join(store, "key"))
	if err != nil {
		return err
	}
	raw, err := l.Credential(string(id))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(store, "credential"), raw, 0o600)
}

// ExpiredToken is a file with a join token of this cluster that was good until an
// hour ago.
func (l *Lab) ExpiredToken() (file string, err error) {
	t, err := l.cluster.key.Mint(time.Now().Add(-time.Hour))
	if err != nil {
		return "", err
	}
	file = filepath.Join(l.Dir, "expired-token")
	return file, os.WriteFile(file, []byte(t.Reveal()), 0o600)
}

// ForeignToken is a file with a join token of some other cluster.
func (l *Lab) ForeignToken() (file string, err error) {
	key, err := member.NewKey()
	if err != nil {
		return "", err
	}
	t, err := key.Mint(time.Time{})
	if err != nil {
		return "", err
	}
	file = filepath.Join(l.Dir, "foreign-token")
	return file, os.WriteFile(file, []byte(t.Reveal()), 0o600)
}
