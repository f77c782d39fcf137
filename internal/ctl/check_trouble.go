package ctl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registryTrouble says what kind of trouble it is, and what to do.
func registryTrouble(ref name.Reference, err error) error {
	host := ref.Context().RegistryStr()
	// Where a registry may be spoken to in the clear, that is tried after TLS,
	// and its failure says less.
	if trouble := certificateTrouble(host, err); trouble != nil {
		return trouble
	}
	if e, is := errors.AsType[*transport.Error](err); is {
		switch e.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%s refuses these credentials (%d): docker login %s, or ask who runs it for the right to %s", host, e.StatusCode, host, ref.Context().RepositoryStr())
		case http.StatusNotFound:
			return fmt.Errorf("%s has no %s: is the name right?", host, ref)
		case http.StatusTooManyRequests:
			return fmt.Errorf("%s is asked too often (429): wait, or log in for a higher limit", host)
		case http.StatusPreconditionFailed:
			return fmt.Errorf("the policy of %s forbids %s (412), as a scanner's findings do: look at it there", host, ref)
		}
		return fmt.Errorf("%s answers %d: %w", host, e.StatusCode, err)
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return fmt.Errorf("%s speaks no TLS: --insecure here, and an endpoint with http:// in p2pd's registries", host)
	}
	if e, is := errors.AsType[*net.OpError](err); is {
		return fmt.Errorf("%s cannot be reached from this node: %w", host, e)
	}
	return fmt.Errorf("%s cannot be reached from this node: %w", host, root(err))
}

// certificateTrouble is what is wrong with a registry's certificate; nil if that
// is not the trouble.
func certificateTrouble(host string, err error) error {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, other := errors.AsType[x509.HostnameError](err)
	switch {
	case unknown:
		return fmt.Errorf("the certificate of %s is signed by an authority that this node does not trust: add the authority to those of the node, and to registries[].tls.caFile of p2pd", host)
	case invalid, other:
		return fmt.Errorf("the certificate of %s is no good: %w", host, root(err))
	}
	return nil
}

// mirrorTrouble says why p2pd does not give something of the image, and what to
// do.
func (k *checkup) mirrorTrouble(what string, err error) error {
	e, is := errors.AsType[*transport.Error](err)
	if !is {
		return fmt.Errorf("p2pd does not give %s: %w", what, err)
	}
	said := http.StatusText(e.StatusCode)
	if len(e.Errors) > 0 {
		said = e.Errors[0].Message // p2pd says one thing
	}
	host := k.ref.Context().RegistryStr()
	if strings.Contains(said, "failed to verify certificate") {
		return fmt.Errorf("p2pd does not give %s, for it does not trust the certificate of %s: name the authority's file in registries[].tls.caFile of its configuration, and start it again (p2pd says: %s)", what, host, said)
	}
	return fmt.Errorf("p2pd does not give %s (%d: %s); p2pctl explain %s says more", what, e.StatusCode, said, k.image)
}

// layerTrouble says why a layer does not come through p2pd. Whether it is the
// registry that does not have it, that is asked.
func (k *checkup) layerTrouble(ctx context.Context, digest v1.Hash, err error) error {
	l, there := remote.Layer(k.ref.Context().Digest(digest.String()), k.options(ctx)...)
	if there == nil {
		there = readAll(l)
	}
	if e, is := errors.AsType[*transport.Error](there); is && e.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s has the manifest of %s, and not its layer %s: it is damaged there, or was cleaned up; push the image again", k.ref.Context().RegistryStr(), k.image, digest)
	}
	if there != nil {
		return fmt.Errorf("neither p2pd nor %s gives layer %s: %w", k.ref.Context().RegistryStr(), digest, registryTrouble(k.ref, there))
	}
	return k.mirrorTrouble("layer "+digest.String(), err)
}
