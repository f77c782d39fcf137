package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/p2pd/p2pd/e2e/lab"
)

// What gRPC and TLS alone take for as many peers is the least that any scheduler
// behind them can. So a server that does nothing but answer is measured in the same
// run: in a process of its own, with as many streams, each on a TLS connection on which
// both ends show a peer's certificate, and messages of the same size at the same times.

const (
	// bareEnv has a process be such a server: its address, and the bytes of its answers.
	bareEnv = "P2PD_BENCH_BARE"
	// barePort is free beside the lab's scheduler.
	barePort = 8088
	// askPerLayer and answerPerLayer are the bytes that a join of twenty layers and
	// its answer of sixteen neighbours have on the wire, for each layer.
	askPerLayer, answerPerLayer = 59, 239
	// bareBuffer and bareWindow are those of p2pd's scheduler.
	bareBuffer, bareWindow = 4 << 10, 64 << 10
)

// bareStream is the one call that such a server has.
var bareStream = grpc.StreamDesc{StreamName: "Ask", ServerStreams: true, ClientStreams: true}

const bareName = "bare.Bare"

// bareService answers whatever it is asked. All streams share the answer: it counts as
// memory of none.
func bareService(answer *wrapperspb.BytesValue) *grpc.ServiceDesc {
	stream := bareStream
	stream.Handler = func(_ any, s grpc.ServerStream) error {
		for {
			if err := s.RecvMsg(new(wrapperspb.BytesValue)); err != nil {
				return err
			}
			if err := s.SendMsg(answer); err != nil {
				return err
			}
		}
	}
	return &grpc.ServiceDesc{ServiceName: bareName, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{stream}}
}

// noise is n bytes that no compression would shorten.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// serveBare is such a server, as bareEnv says, until ctx ends.
func serveBare(ctx context.Context, spec string) error {
	var address string
	var size int
	if _, err := fmt.Sscan(spec, &address, &size); err != nil {
		return fmt.Errorf("%s=%q: %w", bareEnv, spec, err)
	}
	_, config, err := newIdentity()
	if err != nil {
		return err
	}
	config = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: config.Certificates, ClientAuth: tls.RequireAnyClientCert}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	g := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.ReadBufferSize(bareBuffer), grpc.WriteBufferSize(bareBuffer),
		grpc.StaticStreamWindowSize(bareWindow), grpc.StaticConnWindowSize(bareWindow),
	)
	g.RegisterService(bareService(wrapperspb.Bytes(noise(size))), nil)
	defer context.AfterFunc(ctx, g.Stop)()
	return g.Serve(l)
}

// barePeer is one stream to such a server.
type barePeer struct {
	conn   *grpc.ClientConn
	stream grpc.ClientStream
}

// attachBare opens a stream, and waits until it is answered once.
func attachBare(ctx context.Context, address string) (*barePeer, error) {
	_, config, err := newIdentity()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	stream, err := conn.NewStream(ctx, &bareStream, "/"+bareName+"/"+bareStream.StreamName, grpc.WaitForReady(true))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &barePeer{conn, stream}
	return p, p.ask(new(wrapperspb.BytesValue))
}

// ask sends a message and waits for the answer.
func (p *barePeer) ask(m *wrapperspb.BytesValue) error {
	if err := p.stream.SendMsg(m); err != nil {
		return err
	}
	return p.stream.RecvMsg(new(wrapperspb.BytesValue))
}

// runBare measures it.
func (b *bench) runBare(ctx context.Context) (f figures, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server, address, err := b.startBare(ctx)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	empty, err := server.Usage()
	if err != nil {
		return f, err
	}
	peers, err := b.crowd(ctx, address)
	defer func() {
		for _, p := range peers {
			err = errors.Join(err, p.conn.Close())
		}
	}()
	if err != nil {
		return f, err
	}
	before, err := server.Usage()
	if err != nil {
		return f, err
	}
	waits, err := b.askAll(ctx, peers)
	if err != nil {
		return f, err
	}
	after, err := server.Usage()
	f.p50, f.p99 = percentile(waits, 50), percentile(waits, 99)
	f.cpu, f.bytes = (after.CPU - before.CPU).Seconds(), float64(after.PeakRSS-empty.RSS)/float64(b.peers)
	return f, err
}

// crowd opens all streams. Those that it returns are open also when it fails.
func (b *bench) crowd(ctx context.Context, address string) ([]*barePeer, error) {
	fmt.Fprintf(b.log, "%d peers attach to a server that only answers\n", b.peers)
	var mu sync.Mutex
	var peers []*barePeer
	opening, octx := errgroup.WithContext(ctx)
	opening.SetLimit(attachAtOnce)
	for range b.peers {
		if octx.Err() != nil {
			break
		}
		opening.Go(func() error {
			p, err := attachBare(ctx, address)
			if p != nil {
				mu.Lock()
				defer mu.Unlock()
				peers = append(peers, p)
			}
			return err
		})
	}
	return peers, opening.Wait()
}

// askAll has all ask once, as they would join, and returns how long each waited, in ms.
func (b *bench) askAll(ctx context.Context, peers []*barePeer) ([]float64, error) {
	ask := wrapperspb.Bytes(noise(b.layers * askPerLayer))
	waits := make([]float64, len(peers))
	asking, ctx := errgroup.WithContext(ctx)
	err := spread(ctx, len(peers), func(i int) {
		asking.Go(func() error {
			began := time.Now()
			err := peers[i].ask(ask)
			waits[i] = float64(time.Since(began)) / float64(time.Millisecond)
			return err
		})
	})
	return waits, errors.Join(err, asking.Wait())
}

// startBare starts such a server in a process of its own.
func (b *bench) startBare(ctx context.Context) (*lab.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	at := b.lab.Net.Scheduler
	address := at.At(barePort)
	server, err := b.lab.Start(at, lab.Spec{Name: "bare", Args: []string{self}, Env: []string{fmt.Sprintf("%s=%s %d", bareEnv, address, b.layers*answerPerLayer)}})
	if err != nil {
		return nil, "", err
	}
	return server, address, server.WaitReady(ctx, func(ctx context.Context) error {
		conn, err := at.Dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
