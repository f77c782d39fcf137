package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// maxName bounds the name of a node or zone in an EnrolRequest.
	maxName = 255
	// enrolWait is how long one call may take; the scheduler may have to ask
	// its platform.
	enrolWait = 10 * time.Second
	// renewRetry is how long a peer that was refused a new credential waits
	// before it asks again, while the old one is good.
	renewRetry = time.Minute
	// renewLeast is how often a peer asks at most: a clock that is wrong must
	// not make it ask without end.
	renewLeast = 10 * time.Second
)

// Pass is this node's membership. *member.Pass is one.
type Pass interface {
	// Card is the credential to show; nil if there is none that is good.
	Card() []byte
	// RenewAt is when to ask for the next one.
	RenewAt() time.Time
	// Accept takes a credential; it fails if that is no good.
	Accept(credential []byte) error
	// Keep has what was accepted last outlive this process.
	Keep() error
}

// Membership is how a client of a closed cluster proves who it is and gets its
// credential.
type Membership struct {
	// Certificate proves this peer's ID, as libp2p's TLS does.
	Certificate tls.Certificate
	// Scheduler says whether that is the public key of the cluster, which all
	// of its schedulers show.
	Scheduler func(key any) bool
	Pass      Pass
	// Token is what to enrol with. It is called each time, as tokens change.
	Token func() (string, error)
	// Node and Zone are what this peer says of itself.
	Node, Zone string
}

// errOtherCluster says that whoever answers does not have the cluster's key.
var errOtherCluster = errors.New("whoever answers there does not have the cluster's key: it is no scheduler of this cluster, or this node's token or clusterKeyFile is another cluster's")

// credentials are how the client connects. No membership is plaintext. failed is
// told at once of who is no scheduler of this cluster: the call that waits for
// the connection is not told why there is none.
func (m *Membership) credentials(failed func(error)) credentials.TransportCredentials {
	if m == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.Certificate},
		ServerName: "p2pd-scheduler", // not looked at
		// The key is pinned, which says more than any name in a certificate.
		InsecureSkipVerify: true, //nolint:gosec,forbidigo // VerifyPeerCertificate has it prove more
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			cert, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			if !m.Scheduler(cert.PublicKey) {
				failed(errOtherCluster)
				return errOtherCluster
			}
			return nil
		},
	})
}

// showing shows the credential beside each call. It implements
// credentials.PerRPCCredentials.
type showing struct{ pass Pass }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (s showing) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	card := s.pass.Card()
	if card == nil {
		return nil, nil
	}
	return map[string]string{credentialKey: string(card)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (showing) RequireTransportSecurity() bool { return true }

// enrol asks for a credential. One that cannot be kept serves until this
// process ends.
func (c *Client) enrol(ctx context.Context, svc p2pdv1.MembershipServiceClient) error {
	m := c.cfg.Membership
	token, err := m.Token()
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, enrolWait)
	defer cancel()
	r, err := svc.Enrol(ctx, &p2pdv1.EnrolRequest{Token: token, Node: m.Node, Zone: m.Zone}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := m.Pass.Accept(r.GetCredential()); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := m.Pass.Keep(); err != nil {
		c.log.Warn("the credential is lost when this process ends", "err", err)
	}
	return nil
}

// renew asks for new credentials, each when its time has come, until ctx ends.
func (c *Client) renew(ctx context.Context, svc p2pdv1.MembershipServiceClient) {
	wait := time.Until(c.cfg.Membership.Pass.RenewAt())
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if err := c.enrol(ctx, svc); err == nil {
			c.log.Info("credential renewed")
			wait = max(time.Until(c.cfg.Membership.Pass.RenewAt()), renewLeast)
		} else if ctx.Err() == nil {
			c.log.Warn("the scheduler gives this peer no new credential; the old one is good until it expires", "err", err)
			wait = renewRetry
		}
	}
}
