package rpc

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// closed is a cluster with one scheduler.
type closed struct {
	t    *testing.T
	key  member.Key
	core *core
	addr string
	s    *Server
}

func newClosed(t *testing.T, cfg member.AuthorityConfig) *closed {
	t.Helper()
	key, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Key = key
	certificate, err := key.Certificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &closed{t: t, key: key, core: newCore()}
	c.s, c.addr, _ = serve(t, "127.0.0.1:0", ServerConfig{
		Core: c.core, Guard: &Guard{Certificate: certificate, Warden: member.NewAuthority(cfg)},
		Rack: func(_ context.Context, node string) string { return "rack of " + node },
	})
	return c
}

func (c *closed) token(expires time.Time) string {
	token, err := c.key.Mint(expires)
	if err != nil {
		c.t.Fatal(err)
	}
	return token.Reveal()
}

// member is a peer with a proper certificate that enrols with that token.
func (c *closed) member(token string) (scheduler.PeerID, *Membership) {
	c.t.Helper()
	id, certificate := peerIdentity(c.t)
	pass, err := member.OpenPass(c.key.Public(), string(id), filepath.Join(c.t.TempDir(), "credential"))
	if err != nil {
		c.t.Fatal(err)
	}
	return id, &Membership{
		Certificate: certificate, Scheduler: func(k any) bool { return c.key.Public().Equal(k) }, Pass: pass,
		Token: func() (string, error) { return token, nil }, Node: "node-1",
	}
}

func peerIdentity(t *testing.T) (scheduler.PeerID, tls.Certificate) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := libp2ptls.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := libpeer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := identity.ConfigForPeer("")
	return scheduler.PeerID(id.String()), config.Certificates[0]
}

// logs is a log that can be read while it is written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// await waits until the log has that text.
func (l *logs) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		all := l.b.String()
		l.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log never says %q:\n%s", text, all)
		}
	}
}

// attachTo runs a client until the test ends.
func attachTo(t *testing.T, addr string, id scheduler.PeerID, m *Membership) (*handler, *logs) {
	t.Helper()
	h, l := newHandler(), new(logs)
	c := NewClient(ClientConfig{
		Address: addr, Self: scheduler.Peer{ID: id}, Handler: h, Membership: m,
		Logger: slog.New(slog.NewTextHandler(l, nil)), RetryMost: 200 * time.Millisecond,
	})
	run(t, "client", c.Run)
	return h, l
}

func TestAMemberIsLetIn(t *testing.T) {
	c := newClosed(t, member.AuthorityConfig{})
	id, m := c.member(c.token(time.Time{}))
	h, _ := attachTo(t, c.addr, id, m)
	next(t, "stream", h.attached).Send(scheduler.Join{Blobs: []scheduler.Membership{blob}})
	if up := expect[scheduler.PeerUp](t, c.core); up.Peer.ID != id || up.Peer.Node != "node-1" || up.Peer.Rack != "rack of node-1" {
		t.Errorf("peer %s of %q in %q is up, want %s", up.Peer.ID, up.Peer.Node, up.Peer.Rack, id)
	}
	expect[scheduler.Join](t, c.core)
	next(t, "decision", h.decisions)
}

// A rack that a peer names itself is stronger than what is known of its machine.
func TestAPeerNamesItsRack(t *testing.T) {
	c := newClosed(t, member.AuthorityConfig{})
	id, m := c.member(c.token(time.Time{}))
	h := newHandler()
	run(t, "client", NewClient(ClientConfig{Address: c.addr, Self: scheduler.Peer{ID: id, Rack: "r9"}, Handler: h, Membership: m}).Run)
	next(t, "stream", h.attached)
	if up := expect[scheduler.PeerUp](t, c.core); up.Peer.Rack != "r9" {
		t.Errorf("the peer is in rack %q, want r9", up.Peer.Rack)
	}
}

// A second start needs no token: the credential is in the file.
func TestAMemberThatComesBackNeedsNoToken(t *testing.T) {
	c := newClosed(t, member.AuthorityConfig{})
	id, m := c.member(c.token(time.Time{}))
	file := filepath.Join(t.TempDir(), "credential")
	open := func() *member.Pass {
		pass, err := member.OpenPass(c.key.Public(), string(id), file)
		if err != nil {
			t.Fatal(err)
		}
		return pass
	}
	m.Pass = open()
	h, _ := attachTo(t, c.addr, id, m)
	next(t, "stream", h.attached)
	later := *m
	later.Pass = open() // as after a new start
	later.Token = func() (string, error) { return "", fmt.Errorf("the file is gone") }
	again, _ := attachTo(t, c.addr, id, &later)
	next(t, "stream", again.attached)
}

func TestACredentialIsRenewed(t *testing.T) {
	c := newClosed(t, member.AuthorityConfig{})
	id, m := c.member(c.token(time.Time{}))
	old, err := c.key.Sign(member.Credential{Peer: string(id), Issued: time.Now().Add(-time.Hour), Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Pass.Accept(old); err != nil {
		t.Fatal(err)
	}
	_, l := attachTo(t, c.addr, id, m)
	l.await(t, "credential renewed")
	if bytes.Equal(m.Pass.Card(), old) {
		t.Error("still the old credential")
	}
}

func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	c := newClosed(t, member.AuthorityConfig{})
	spent := c.token(time.Now().Add(-time.Minute))
	other := newClosed(t, member.AuthorityConfig{})
	genuine := c.token(time.Time{})
	cut := strings.LastIndex(genuine, ".")
	foreign := other.token(time.Time{})
	forged := genuine[:cut] + foreign[strings.LastIndex(foreign, "."):]
	for name, one := range map[string]struct {
		token, says string
	}{
		"forged":    {forged, member.ErrTokenForged.Error()},
		"expired":   {spent, member.ErrTokenExpired.Error()},
		"other's":   {other.token(time.Time{}), member.ErrTokenForged.Error()},
		"no token":  {"let me in", member.ErrNoReview.Error()},
		"malformed": {"p2pd1.x.y", "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, m := c.member(one.token)
			_, l := attachTo(t, c.addr, id, m)
			l.await(t, one.says)
		})
	}
	t.Cleanup(func() {
		if n := len(c.core.events); n > 0 {
			t.Errorf("the core heard of strangers: %d events", n)
		}
	})
}

func TestAWithdrawnTokenLetsNobodyIn(t *testing.T) {
	c := newClosed(t, member.AuthorityConfig{})
	text := c.token(time.Time{})
	token, err := member.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	strict := member.NewAuthority(member.AuthorityConfig{Key: c.key, Refused: []member.TokenID{token.ID}})
	if _, err := strict.Enrol(t.Context(), "peer", "", "", text); err == nil || !strings.Contains(err.Error(), token.ID.String()) {
		t.Errorf("a withdrawn token: %v", err)
	}
}

// Every method of every service wants a credential, those that will be added
// too; only enrolling and health do not.
func TestAStrangerMayCallNothing(t *testing.T) {
	c := newClosed(t, member.AuthorityConfig{})
	_, m := c.member("")
	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(m.credentials(func(error) {})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var methods []string
	for _, s := range []grpc.ServiceDesc{p2pdv1.SchedulerService_ServiceDesc, p2pdv1.MembershipService_ServiceDesc} {
		for _, m := range s.Methods {
			methods = append(methods, "/"+s.ServiceName+"/"+m.MethodName)
		}
		for _, m := range s.Streams {
			methods = append(methods, "/"+s.ServiceName+"/"+m.StreamName)
		}
	}
	for _, method := range methods {
		want := codes.Unauthenticated
		if method == p2pdv1.MembershipService_Enrol_FullMethodName {
			want = codes.PermissionDenied
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := conn.Invoke(ctx, method, &p2pdv1.EnrolRequest{}, &p2pdv1.EnrolResponse{}, grpc.WaitForReady(true))
		cancel()
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %v", method, err, want)
		}
	}
}

// Another's credential is worth nothing, and neither is a hello in another's
// name.
func TestNobodySpeaksForAnother(t *testing.T) {
	t.Parallel()
	c := newClosed(t, member.AuthorityConfig{})
	victimID, victim := c.member(c.token(time.Time{}))
	h, _ := attachTo(t, c.addr, victimID, victim)
	next(t, "stream", h.attached)

	id, thief := c.member("none")
	thief.Pass = borrowed{victim.Pass}
	_, l := attachTo(t, c.addr, id, thief)
	l.await(t, member.ErrOtherPeer.Error())

	_, impostor := c.member(c.token(time.Time{}))
	_, l = attachTo(t, c.addr, victimID, impostor)
	l.await(t, "hello of peer "+string(victimID))
}

// borrowed is somebody else's pass.
type borrowed struct{ Pass }

func (borrowed) RenewAt() time.Time  { return time.Now().Add(time.Hour) }
func (borrowed) Accept([]byte) error { return nil }
func (borrowed) Keep() error         { return nil }

func TestAnImpostorOfASchedulerIsNotSpokenTo(t *testing.T) {
	t.Parallel()
	c, impostor := newClosed(t, member.AuthorityConfig{}), newClosed(t, member.AuthorityConfig{})
	id, m := c.member(c.token(time.Time{}))
	_, l := attachTo(t, impostor.addr, id, m)
	l.await(t, "does not have the cluster's key")
	if n := len(impostor.core.events); n > 0 {
		t.Errorf("the impostor heard %d events", n)
	}
}

func TestSidesThatAreSetUpDifferentlySayWhatToDo(t *testing.T) {
	t.Parallel()
	t.Run("open node, closed scheduler", func(t *testing.T) {
		t.Parallel()
		c := newClosed(t, member.AuthorityConfig{})
		_, l := attachTo(t, c.addr, "p", nil)
		l.await(t, "scheduler token")
	})
	t.Run("closed node, open scheduler", func(t *testing.T) {
		t.Parallel()
		_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
		c := newClosed(t, member.AuthorityConfig{})
		id, m := c.member(c.token(time.Time{}))
		_, l := attachTo(t, addr, id, m)
		l.await(t, "membership.mode open")
	})
	t.Run("an expired token", func(t *testing.T) {
		t.Parallel()
		c := newClosed(t, member.AuthorityConfig{})
		id, m := c.member(c.token(time.Now().Add(-time.Hour)))
		_, l := attachTo(t, c.addr, id, m)
		l.await(t, "prints a new one there")
	})
	t.Run("another cluster's scheduler", func(t *testing.T) {
		t.Parallel()
		c, other := newClosed(t, member.AuthorityConfig{}), newClosed(t, member.AuthorityConfig{})
		id, m := c.member(c.token(time.Time{}))
		_, l := attachTo(t, other.addr, id, m)
		l.await(t, "does not have the cluster's key")
	})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		_, l := attachTo(t, "127.0.0.1:1", "p", nil)
		l.await(t, "is the scheduler running, and is this its address?")
	})
}

// A peer that is banned loses its stream, gets none again, and no new credential either,
// until the ban is lifted.
func TestABannedPeerIsNotLetIn(t *testing.T) {
	t.Parallel()
	bans := new(member.Bans)
	c := newClosed(t, member.AuthorityConfig{Bans: bans})
	id, m := c.member(c.token(time.Time{}))
	h, l := attachTo(t, c.addr, id, m)
	next(t, "stream", h.attached)
	expect[scheduler.PeerUp](t, c.core)

	bans.Order(string(id), time.Hour, "it is stolen", time.Now())
	if err := c.s.Ban(t.Context(), scheduler.BanPeer{Peer: id, For: time.Hour, Reason: "it is stolen"}); err != nil {
		t.Fatal(err)
	}
	expect[scheduler.BanPeer](t, c.core)
	next(t, "end of the stream", h.detached)
	l.await(t, "it is stolen")
	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(m.credentials(func(error) {})), grpc.WithPerRPCCredentials(showing{m.Pass}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	token, err := m.Token()
	if err != nil {
		t.Fatal(err)
	}
	_, err = p2pdv1.NewMembershipServiceClient(conn).Enrol(t.Context(), &p2pdv1.EnrolRequest{Token: token})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "it is stolen") {
		t.Errorf("it asks for a credential: %v", err)
	}
	_, err = p2pdv1.NewSchedulerServiceClient(conn).Recall(t.Context(), &p2pdv1.RecallRequest{Key: make([]byte, 16)})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("it asks who vouches: %v", err)
	}

	lifted := bans.Lift(string(id), time.Now())[0]
	if err := c.s.Unban(t.Context(), scheduler.UnbanPeer{Peer: id, At: lifted.At}); err != nil {
		t.Fatal(err)
	}
	next(t, "stream after the ban", h.attached)
}

// Whom members blame is put out, and whoever keeps the register of bans hears of it.
func TestABlamedPeerIsPutOut(t *testing.T) {
	t.Parallel()
	var events []scheduler.Event
	var heard []scheduler.Expel
	core := brain(func(e scheduler.Event) []scheduler.Decision {
		events = append(events, e)
		if _, ok := e.(scheduler.Blame); ok {
			return []scheduler.Decision{scheduler.Expel{Peer: "liar", For: time.Minute, Reason: "false bytes"}, scheduler.Part{To: "liar", Reason: "x"}}
		}
		return nil
	})
	s := NewServer(ServerConfig{Core: core, Guard: &Guard{}, Expel: func(e scheduler.Expel) { heard = append(heard, e) }})
	st := s.newStream(scheduler.Peer{ID: "liar"})
	s.admit(st)
	s.step(scheduler.Blame{})
	want := []scheduler.Event{scheduler.PeerUp{Peer: scheduler.Peer{ID: "liar"}}, scheduler.Blame{}, scheduler.PeerDown{Peer: "liar"}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
	if len(heard) != 1 || heard[0].Peer != "liar" || s.streams["liar"] != nil || !isClosed(st.quit) {
		t.Errorf("heard %+v; its stream: %v", heard, s.streams["liar"])
	}
}
