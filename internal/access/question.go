package access

import (
	"crypto/sha256"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Repo is a repository of a registry. Both names are well formed, the host in
// lower case.
type Repo struct{ Host, Name string }

// String is the repository as image references have it.
func (r Repo) String() string { return r.Host + "/" + r.Name }

// Kind is what a question is about.
type Kind uint8

// The kinds.
const (
	Tag Kind = iota + 1
	Manifest
	Blob
)

// Question is what the origin can be asked, by a HEAD: whether there is such
// content for whoever asks. Tag is set for Tag, Digest for the others.
type Question struct {
	Repo   Repo
	Kind   Kind
	Tag    string
	Digest piece.Digest
}

// Reference is the tag or the digest.
func (q Question) Reference() string {
	if q.Kind == Tag {
		return q.Tag
	}
	return q.Digest.String()
}

// Identity is in whose name the origin is asked.
type Identity uint8

// The identities.
const (
	Anonymous Identity = iota // nobody: no credential at all
	Client                    // the client, by the credential that it sent
	Node                      // this node, by what its operator configured
)

// Subject is an identity as the Table remembers it. It tells nothing of a
// credential to those who do not have the key.
type Subject struct {
	identity Identity
	tag      [sha256.Size]byte // of a Client's credential, for one repository
}

// SubjectOf is how a credential is remembered, for use at repo alone. A zero
// credential is nobody's.
func SubjectOf(key []byte, credential secret.Value, repo Repo) Subject {
	if credential.IsZero() {
		return Subject{identity: Anonymous}
	}
	return Subject{Client, credential.Tag(key, repo.String())}
}

// Identity says in whose name the subject asks.
func (s Subject) Identity() Identity { return s.identity }

var (
	nobody = Subject{identity: Anonymous}
	node   = Subject{identity: Node}
)
