package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/containerd/api/services/namespaces/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// maxMessage is what containerd itself allows on its socket.
	maxMessage = 16 << 20
	// listWait bounds one list: of ten thousand blobs it takes a second.
	listWait = 30 * time.Second
	// maxListed bounds what a list may hold in memory; more is an error.
	maxListed = 1 << 18
	// namespaceHeader names the namespace of a request.
	namespaceHeader = "containerd-namespace"
	// changes are the events after which the list may be another. Before 2.1
	// there are none of content, only of images.
	changes = `topic~="^/(images|content)/"`
)

// client is one connection to containerd's socket.
type client struct {
	cfg  Config
	conn *grpc.ClientConn
}

func dial(cfg Config) (*client, error) {
	conn, err := grpc.NewClient("unix://"+cfg.Socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's mode protects it
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("containerd's socket: %w", err)
	}
	return &client{cfg, conn}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// subscribe asks for events until ctx ends. changed has room for one; ended
// gets the reason why there are no more.
func (c *client) subscribe(ctx context.Context) (ended <-chan error, changed <-chan struct{}, err error) {
	stream, err := events.NewEventsClient(c.conn).Subscribe(ctx, &events.SubscribeRequest{Filters: []string{changes}})
	if err != nil {
		return nil, nil, fmt.Errorf("subscribe to containerd's events: %w", err)
	}
	over, news := make(chan error, 1), make(chan struct{}, 1)
	go func() { // ends with ctx, at the latest with the connection
		for {
			e, err := stream.Recv()
			if err != nil {
				over <- err
				return
			}
			if !c.cfg.wants(e.GetNamespace()) {
				continue
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return over, news, nil
}

// list is all that containerd has in the namespaces that are wanted, the
// newest first. What is still arriving is not in it.
func (c *client) list(ctx context.Context) ([]listing, error) {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	names, err := c.namespaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containerd's namespaces: %w", err)
	}
	all := make(map[piece.Digest]listing)
	for _, name := range names {
		if err := c.listOne(metadata.AppendToOutgoingContext(ctx, namespaceHeader, name), all); err != nil {
			return nil, fmt.Errorf("list containerd's content in %s: %w", name, err)
		}
	}
	blobs := make([]listing, 0, len(all))
	for _, b := range all {
		blobs = append(blobs, b)
	}
	slices.SortFunc(blobs, func(a, b listing) int { return b.made.Compare(a.made) })
	return blobs, nil
}

// namespaces are the wanted ones. One that does not exist lists nothing.
func (c *client) namespaces(ctx context.Context) ([]string, error) {
	if !slices.Contains(c.cfg.Namespaces, AllNamespaces) {
		return c.cfg.Namespaces, nil
	}
	resp, err := namespaces.NewNamespacesClient(c.conn).List(ctx, &namespaces.ListNamespacesRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range resp.GetNamespaces() {
		names = append(names, n.GetName())
	}
	return names, nil
}

// listOne adds one namespace's blobs. The same blob may be in several.
func (c *client) listOne(ctx context.Context, all map[piece.Digest]listing) error {
	stream, err := content.NewContentClient(c.conn).List(ctx, &content.ListContentRequest{})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, info := range resp.GetInfo() {
			d, err := piece.ParseDigest(info.GetDigest())
			if err != nil {
				continue // of an algorithm that p2pd does not speak
			}
			all[d] = listing{digest: d, size: info.GetSize(), made: info.GetCreatedAt().AsTime()}
		}
		if len(all) > maxListed {
			return fmt.Errorf("more than %d blobs", maxListed)
		}
	}
}
