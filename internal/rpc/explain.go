package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What an operator should do when the two sides are set up differently. The
// errors of TLS and HTTP/2 tell nobody.
const (
	wantsMembers = "the scheduler takes members only, and this node has no token: 'scheduler token' prints one there; put it into a file and name that in membership.tokenFile"
	wantsNobody  = "the scheduler runs with membership.mode open, and this node wants a closed cluster: set the scheduler's mode to token, or take membership.tokenFile away here"
	wantsToken   = "the scheduler does not take this node's token: 'scheduler token' prints a new one there; put it into the file that membership.tokenFile names here, which is read again at each attempt"
	nobodyThere  = "nothing listens there: is the scheduler running, and is this its address?"
	noWayThere   = "nothing answers there: is the address right, and does every firewall let this node through?"
	itWent       = "it was there, and is gone"
	noSuchName   = "the name stands for no address: is it right, and does this node's DNS server know it?"
)

// words are what errors of the network say, and what that means here. gRPC
// passes them on as texts only.
var words = []struct{ said, means string }{
	{"connection refused", nobodyThere},
	{"no such host", noSuchName}, {"error reading from server", itWent},
	{"i/o timeout", noWayThere}, {"no route to host", noWayThere}, {"network is unreachable", noWayThere},
}

// explain adds to an error of connecting what it comes from, if the two sides
// are set up differently, or if there is no way from one to the other.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case strings.Contains(err.Error(), errOtherCluster.Error()):
		return errOtherCluster // gRPC's words around it are about TLS
	case status.Code(err) == codes.PermissionDenied && strings.Contains(err.Error(), "token"):
		return fmt.Errorf("%s (%w)", wantsToken, err)
	case status.Code(err) == codes.PermissionDenied:
		return fmt.Errorf("the scheduler keeps this node out (%w)", err)
	case c.cfg.Membership != nil && strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return fmt.Errorf("%s (%w)", wantsNobody, err)
	case c.cfg.Membership == nil && errors.Is(err, errUnreachable) && c.speaksTLS(ctx):
		return fmt.Errorf("%s (%w)", wantsMembers, err)
	}
	for _, w := range words {
		if strings.Contains(err.Error(), w.said) {
			return fmt.Errorf("%s (%w)", w.means, err)
		}
	}
	if errors.Is(err, errUnreachable) {
		return fmt.Errorf("%s (%w)", noWayThere, err)
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
