package containerd

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/containerd/api/services/namespaces/v1"
	"github.com/containerd/containerd/api/types"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should take moments.
const patience = 30 * time.Second

// fake is a containerd: a root with blobs, and a socket while it runs.
type fake struct {
	t *testing.T
	// subscribed is closed by the first subscription that is in force.
	subscribed chan struct{}
	once       sync.Once
	root       string
	socket     string

	mu     sync.Mutex // guards what follows
	server *grpc.Server
	ended  chan struct{}
	blobs  map[string][]*content.Info // by namespace
	subs   map[chan *types.Envelope]bool
	// late is called once, in the next list after what it answers is settled.
	late func()
}

func newFake(t *testing.T) *fake {
	t.Helper()
	dir := t.TempDir()
	f := &fake{
		t: t, root: filepath.Join(dir, "root"), socket: filepath.Join(dir, "c.sock"),
		subscribed: make(chan struct{}), blobs: make(map[string][]*content.Info), subs: make(map[chan *types.Envelope]bool),
	}
	t.Cleanup(f.stop)
	return f
}

func (f *fake) start() {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Join(f.root, contentDir), 0o700); err != nil {
		f.t.Fatal(err)
	}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	s, ended := grpc.NewServer(), make(chan struct{})
	events.RegisterEventsServer(s, fakeEvents{f: f})
	content.RegisterContentServer(s, fakeContent{f: f})
	namespaces.RegisterNamespacesServer(s, fakeNamespaces{f: f})
	f.mu.Lock()
	f.server, f.ended = s, ended
	f.mu.Unlock()
	go func() {
		defer close(ended)
		if err := s.Serve(l); err != nil {
			f.t.Error(err)
		}
	}()
}

// stop ends it as a crash would. What it has on disk stays.
func (f *fake) stop() {
	f.mu.Lock()
	s, ended := f.server, f.ended
	f.server = nil
	f.mu.Unlock()
	if s != nil {
		s.Stop()
		<-ended
	}
}

// put gives containerd a blob and says so if asked to, as versions since 2.1 do.
func (f *fake) put(namespace string, p []byte, announce bool) piece.Digest {
	f.t.Helper()
	d := piece.Sum(p)
	f.putAs(namespace, d, p, int64(len(p)))
	if announce {
		f.publish(namespace, "/content/create")
	}
	return d
}

// putAs puts a file under a digest and lists it with a size, true or not.
func (f *fake) putAs(namespace string, d piece.Digest, p []byte, size int64) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Join(f.root, contentDir, blobsDir), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path(d)+".new", p, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.path(d)+".new", f.path(d)); err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[namespace] = append(f.blobs[namespace], &content.Info{Digest: d.String(), Size: size, CreatedAt: timestamppb.Now()})
}

func (f *fake) path(d piece.Digest) string { return filepath.Join(f.root, contentDir, blobName(d)) }

// unlist takes a blob off the lists; its file stays.
func (f *fake) unlist(d piece.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, blobs := range f.blobs {
		f.blobs[name] = slices.DeleteFunc(blobs, func(i *content.Info) bool { return i.GetDigest() == d.String() })
	}
}

func (f *fake) publish(namespace, topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for sub := range f.subs {
		sub <- &types.Envelope{Namespace: namespace, Topic: topic}
	}
}

// The services of a fake; two of them have methods of one name.
type (
	fakeEvents struct {
		events.UnimplementedEventsServer
		f *fake
	}
	fakeContent struct {
		content.UnimplementedContentServer
		f *fake
	}
	fakeNamespaces struct {
		namespaces.UnimplementedNamespacesServer
		f *fake
	}
)

func (e fakeEvents) Subscribe(req *events.SubscribeRequest, s events.Events_SubscribeServer) error {
	f := e.f
	if !slices.Equal(req.GetFilters(), []string{changes}) {
		f.t.Errorf("subscribed to %q", req.GetFilters())
	}
	sub := make(chan *types.Envelope, 1024)
	f.mu.Lock()
	f.subs[sub] = true
	f.once.Do(func() { close(f.subscribed) })
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, sub)
	}()
	for {
		select {
		case e := <-sub:
			if err := s.Send(e); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (c fakeContent) List(_ *content.ListContentRequest, s content.Content_ListServer) error {
	f := c.f
	md, _ := metadata.FromIncomingContext(s.Context())
	f.mu.Lock()
	blobs := slices.Clone(f.blobs[strings.Join(md.Get(namespaceHeader), ",")])
	late := f.late
	f.late = nil
	f.mu.Unlock()
	if late != nil {
		late()
	}
	for some := range slices.Chunk(blobs, 2) {
		if err := s.Send(&content.ListContentResponse{Info: some}); err != nil {
			return err
		}
	}
	return nil
}

func (n fakeNamespaces) List(context.Context, *namespaces.ListNamespacesRequest) (*namespaces.ListNamespacesResponse, error) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	resp := &namespaces.ListNamespacesResponse{}
	for _, name := range slices.Sorted(maps.Keys(n.f.blobs)) {
		resp.Namespaces = append(resp.Namespaces, &namespaces.Namespace{Name: name})
	}
	return resp, nil
}

// swarm remembers what it was told.
type swarm struct {
	mu      sync.Mutex // guards what follows
	offered map[piece.Digest]int64
	deaf    int // offers that it does not take
}

func (s *swarm) Offer(d piece.Digest, size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf > 0 {
		s.deaf--
		return false
	}
	s.offered[d] = size
	return true
}

func (s *swarm) Withdraw(d piece.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.offered, d)
}

func (s *swarm) has(d piece.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.offered[d]
	return ok
}

// copies is a store in memory that knows what was demoted.
type copies struct {
	*storetest.Memory
	mu      sync.Mutex // guards what follows
	demoted map[piece.Digest]bool
}

func (c *copies) Demote(d piece.Digest) { c.set(d, true) }

func (c *copies) Reinstate(d piece.Digest) { c.set(d, false) }

func (c *copies) set(d piece.Digest, demoted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.demoted[d] = demoted
}

func (c *copies) spare(d piece.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.demoted[d]
}
