package transport

import (
	"cmp"
	"crypto/x509"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// cluster is a key, and what it gives to nodes.
type cluster struct {
	t   *testing.T
	key member.Key
}

func newCluster(t *testing.T) cluster {
	k, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t, k}
}

// sign makes a credential that is good for life.
func (c cluster) sign(id scheduler.PeerID, life time.Duration) []byte {
	raw, err := c.key.Sign(member.Credential{Peer: string(id), Issued: time.Now(), Expires: time.Now().Add(life)})
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

// launch starts a peer of the cluster. Its credential is signed by signer, for
// owner, or itself if that is empty.
func (c cluster) launch(signer cluster, owner scheduler.PeerID, life time.Duration) (*node, *member.Pass) {
	c.t.Helper()
	return c.launchWith(signer, owner, life, func(*Config, string) {})
}

// launchWith is launch after a change of the configuration of the peer of some ID.
func (c cluster) launchWith(signer cluster, owner scheduler.PeerID, life time.Duration, edit func(*Config, string)) (*node, *member.Pass) {
	c.t.Helper()
	cfg := loopback(c.t)
	key, err := loadIdentity(cfg.KeyFile)
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := libpeer.IDFromPrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	pass, err := member.OpenPass(c.key.Public(), id.String(), filepath.Join(c.t.TempDir(), "credential"))
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.Members = pushy{pass, signer.sign(cmp.Or(owner, scheduler.PeerID(id.String())), life)}
	edit(&cfg, id.String())
	return launch(c.t, cfg), pass
}

// pushy shows its card whatever the pass thinks of it, as somebody would who
// means to get in.
type pushy struct {
	*member.Pass
	card []byte
}

func (p pushy) Card() []byte { return p.card }

func TestMembersReachEachOther(t *testing.T) {
	c := newCluster(t)
	a, _ := c.launch(c, "", time.Hour)
	b, _ := c.launch(c, "", time.Hour)
	d := b.hold([]byte("shared"))
	got, err := fetchAll(a, b.Self(), d, 0, 6)
	if err != nil || string(got) != "shared" {
		t.Errorf("member got %q, %v", got, err)
	}
	a.Send(b.Self(), peer.Bye{})
	if m := await(t, b.received, "message"); m.from != a.Self().ID {
		t.Errorf("message of %s", m.from)
	}
}

func TestStrangersGetNothing(t *testing.T) {
	c := newCluster(t)
	inside, _ := c.launch(c, "", time.Hour)
	d := inside.hold([]byte("secret"))
	open := launch(t, loopback(t))
	otherCluster, _ := c.launch(newCluster(t), "", time.Hour)
	expired, _ := c.launch(c, "", -time.Second)
	thief, _ := c.launch(c, inside.Self().ID, time.Hour)
	for name, stranger := range map[string]*node{
		"no credential": open, "other cluster's": otherCluster, "expired": expired, "another peer's": thief,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := fetchAll(stranger, inside.Self(), d, 0, 6); err == nil {
				t.Errorf("a stranger got %q", got)
			}
			stranger.Send(inside.Self(), peer.Bye{})
			if got := await(t, stranger.lost, "loss"); got.peer != inside.Self().ID {
				t.Errorf("lost %+v", got)
			}
			// Nor does a member ask one.
			held := stranger.hold([]byte("poison"))
			if got, err := fetchAll(inside, stranger.Self(), held, 0, 6); err == nil || !strings.Contains(err.Error(), "credential") {
				t.Errorf("a member took %q of a stranger, %v", got, err)
			}
		})
	}
	if len(inside.received) > 0 || len(inside.children) > 0 {
		t.Error("the handler heard of a stranger")
	}
}

// order bans a peer for so long, as far as pass is concerned; 0 lifts the ban.
func order(t *testing.T, pass *member.Pass, who *node, long time.Duration) {
	t.Helper()
	word := member.Ban{Peer: string(who.Self().ID), At: time.Now()}
	if long > 0 {
		word.Until = word.At.Add(long)
	}
	if err := pass.Ban(word); err != nil {
		t.Fatal(err)
	}
}

func TestABanCutsOff(t *testing.T) {
	c := newCluster(t)
	bad, _ := c.launch(c, "", time.Hour)
	good, pass := c.launch(c, "", time.Hour)
	d := good.hold([]byte("shared"))
	if _, err := fetchAll(bad, good.Self(), d, 0, 6); err != nil {
		t.Fatal(err)
	}
	bad.Send(good.Self(), peer.Bye{})
	await(t, good.received, "message")

	order(t, pass, bad, time.Hour)
	if _, err := fetchAll(bad, good.Self(), d, 0, 6); err == nil {
		t.Error("a banned peer got bytes over a connection that was there")
	}
	await(t, good.lost, "loss of the banned peer's link")
	if _, err := fetchAll(good, bad.Self(), bad.hold([]byte("x")), 0, 1); !errors.Is(err, member.ErrBanned) {
		t.Errorf("fetch from a banned peer: %v", err)
	}

	order(t, pass, bad, 0)
	if _, err := fetchAll(bad, good.Self(), d, 0, 6); err != nil {
		t.Errorf("after the ban: %v", err)
	}
}

func TestARenewedCardIsShown(t *testing.T) {
	c := newCluster(t)
	id, err := loadIdentity(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	members := &pushy{card: []byte("first")}
	i, err := newIdentity(id, members)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		made, err := i.current()
		if err != nil {
			t.Fatal(err)
		}
		config, _ := made.ConfigForPeer("")
		leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range leaf.Extensions {
			if e.Id.Equal(cardExtension) {
				return string(e.Value)
			}
		}
		return ""
	}
	if got := shown(); got != "first" {
		t.Errorf("shows %q", got)
	}
	members.card = c.sign("p", time.Hour)
	if got := shown(); got != string(members.card) {
		t.Error("still shows the old card")
	}
}

func TestClearPiecesAreForOpenClustersOnly(t *testing.T) {
	cfg := loopback(t)
	cfg.ClearBulk, cfg.Members = true, pushy{}
	if tr, err := New(cfg); err == nil {
		t.Errorf("a closed cluster serves pieces in the clear: %v", tr.Self())
	}
}
