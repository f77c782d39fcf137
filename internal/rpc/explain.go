package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// What an operator should do when the two sides are set up differently. The
// errors of TLS and HTTP/2 tell nobody.
const (
	wantsMembers = "the scheduler takes members only, and this node has no token: 'scheduler token' prints one there; put it into a file and name that in membership.tokenFile"
	wantsNobody  = "the scheduler runs with membership.mode open, and this node wants a closed cluster: set the scheduler's mode to token, or take membership.tokenFile away here"
)

// explain adds to an error of connecting what it comes from, if the two sides
// are set up differently.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case c.cfg.Membership != nil && strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return fmt.Errorf("%s (%w)", wantsNobody, err)
	case c.cfg.Membership == nil && errors.Is(err, errUnreachable) && c.speaksTLS(ctx):
		return fmt.Errorf("%s (%w)", wantsMembers, err)
	}
	return err
}

// speaksTLS reports whether the scheduler answers to TLS. Nothing is sent that
// way but the handshake.
func (c *Client) speaksTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.cfg.Address)
	if err != nil {
		return false
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		InsecureSkipVerify: true, //nolint:gosec,forbidigo // only to see whether it is TLS
	})
	return conn.HandshakeContext(ctx) == nil
}
