package preheat

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// maxAuthorization bounds what nodes are told to read with.
const maxAuthorization = 16 << 10

// credential is what a job reads with.
type credential struct {
	login login
	now   secret.Value // what it was traded for
	until time.Time    // when it is to be traded anew
}

func newCredential(l login) *credential {
	c := &credential{login: l}
	if !l.token.IsZero() {
		c.now = secret.New("Bearer " + l.token.Reveal())
	}
	return c
}

// authorization is what a job reads with now; zero if it has no credential of its
// own.
func (k *Desk) authorization(ctx context.Context, j *Job) (secret.Value, error) {
	k.mu.Lock()
	c := k.secrets[j.ID]
	host, repo, isSecret := j.Spec.Registry, j.Spec.Repository, j.Secret
	k.mu.Unlock()
	switch {
	case c == nil && isSecret:
		return secret.Value{}, errNoCredential
	case c == nil:
		return secret.Value{}, nil
	case !c.login.token.IsZero():
		return c.now, nil
	}
	as, err := k.cfg.Registries.Authorize(ctx, host, repo, c.login.username, c.login.password)
	if err == nil && len(as.Reveal()) > maxAuthorization {
		err = fmt.Errorf("the registry's token has %d bytes; the most that nodes take is %d", len(as.Reveal()), maxAuthorization)
	}
	if err != nil {
		return secret.Value{}, explained(err, c.login.password)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c.now, c.until = as, time.Now().Add(renewEvery)
	return as, nil
}

// basic is the login as container runtimes take it: USER:PASSWORD in base64; zero
// if there is none.
func (c *credential) basic() secret.Value {
	if c == nil || c.login.username == "" {
		return secret.Value{}
	}
	return secret.New(base64.StdEncoding.EncodeToString([]byte(c.login.username + ":" + c.login.password.Reveal())))
}

// stale reports whether nodes that still fetch need a new token.
func (c *credential) stale(now time.Time) bool {
	return c != nil && c.login.token.IsZero() && !c.until.IsZero() && now.After(c.until)
}

// renew gives all nodes that still fetch a new token.
func (k *Desk) renew(ctx context.Context, j *Job) {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	if _, err := k.authorization(ctx, j); err != nil {
		k.log.Warn("a preheat job's login is not taken any more", "job", int64(j.ID), "err", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.send(j, slices.DeleteFunc(slices.Clone(j.Nodes), (*Node).ended))
	wake(k.wakeUp)
}

// send says what nodes are to fetch; mu is held.
func (k *Desk) send(j *Job, tell []*Node) {
	c := k.secrets[j.ID]
	for _, n := range tell {
		d := scheduler.Preheat{
			To: n.Peer, Job: j.ID, Registry: j.Spec.Registry, Repository: j.Spec.Repository,
			Bereft: c == nil && j.Secret, Reason: "preheat of " + j.Spec.Image(),
		}
		if c != nil {
			d.Authorization = c.now
		}
		if j.Spec.Into != "" {
			d.Unpack, d.Login = j.Spec.Reference, c.basic()
		}
		for _, b := range j.blobs(n) {
			one, err := b.wire()
			if err != nil {
				k.log.Warn("another scheduler tells of a blob that is none", "job", int64(j.ID), "err", err)
				return
			}
			d.Blobs = append(d.Blobs, one)
		}
		k.unsent = append(k.unsent, d)
	}
}
