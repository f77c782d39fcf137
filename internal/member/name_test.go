package member_test

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/member"
)

func TestNodeOf(t *testing.T) {
	key, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	raw, err := key.Sign(member.Credential{Peer: "p", Node: "worker-1", Zone: "z", Issued: now, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	a := member.NewAuthority(member.AuthorityConfig{Key: key})
	if got := a.NodeOf(raw); got != "worker-1" {
		t.Errorf("the credential is of %q", got)
	}
	for n := range raw {
		if got := a.NodeOf(raw[:n]); got != "" {
			t.Errorf("%d bytes of it are of %q", n, got)
		}
	}
	if got := a.NodeOf(nil); got != "" {
		t.Errorf("none is of %q", got)
	}
}
