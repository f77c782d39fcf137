package cri

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cleanWithin bounds the removal of what was made.
const cleanWithin = 20 * time.Second

// Client is a container runtime. What it pulls and starts it remembers until Undo.
// It is not safe for concurrent use, but for Version, Fetch and Held.
type Client struct {
	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
	undo    []func(context.Context) error // what is to be undone, the last first
}

// Dial makes a client of the runtime that listens at socket, a path. Nothing is
// asked yet.
func Dial(socket string) (*Client, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, runtime: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn)}, nil
}

// Close ends the connection; what was made stays.
func (c *Client) Close() error { return c.conn.Close() }

// said is what a runtime fails with, without gRPC's words around it.
func said(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("the runtime says: %s", s.Message())
	}
	return err
}

// Version is what the runtime is called, and its version.
func (c *Client) Version(ctx context.Context) (string, error) {
	v, err := c.runtime.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return "", said(err)
	}
	return v.GetRuntimeName() + " " + v.GetRuntimeVersion(), nil
}

// Undo removes what was pulled and started. It goes on after a failure, and has
// time of its own.
func (c *Client) Undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
	defer cancel()
	var failed []error
	for len(c.undo) > 0 {
		last := len(c.undo) - 1
		failed = append(failed, c.undo[last](ctx))
		c.undo = c.undo[:last]
	}
	return errors.Join(failed...)
}
