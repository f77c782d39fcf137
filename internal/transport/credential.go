package transport

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// Members decides who belongs to the cluster. *member.Pass is one. The methods
// must not block.
type Members interface {
	// Card is what this peer shows to others; nil if it has nothing.
	Card() []byte
	// Check says why a peer that has proven its ID, and shows card, is turned
	// away.
	Check(peer string, card []byte) error
	// Admit says why a peer that was checked before has no business here any
	// more.
	Admit(peer string) error
	// Banned says why a peer must not be dialled.
	Banned(peer string) error
}

// everybody are the Members of an open cluster.
type everybody struct{}

func (everybody) Card() []byte               { return nil }
func (everybody) Check(string, []byte) error { return nil }
func (everybody) Admit(string) error         { return nil }
func (everybody) Banned(string) error        { return nil }

// cardExtension is where a certificate has its peer's card: a number below
// 2.25, where nobody else gives numbers out (ITU-T X.667), drawn at random.
var cardExtension = asn1.ObjectIdentifier{2, 25, 1583172404, 861402563}

// certificateLife is that of libp2p's own certificates. It says nothing: the
// card expires, and a certificate is made anew at each start.
const certificateLife = 100 * 365 * 24 * time.Hour

// identity is what this peer proves itself with to others: libp2p's
// certificate, with this peer's card in it. When the card changes, so does
// what is shown from the next handshake on.
type identity struct {
	key     crypto.PrivKey
	members Members

	mu   sync.Mutex // guards what follows
	made *libp2ptls.Identity
	card []byte // that made has in it
}

func newIdentity(key crypto.PrivKey, members Members) (*identity, error) {
	i := &identity{key: key, members: members}
	_, err := i.current()
	return i, err
}

// current is the certificate with the card of now.
func (i *identity) current() (*libp2ptls.Identity, error) {
	card := i.members.Card()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.made != nil && bytes.Equal(card, i.card) {
		return i.made, nil
	}
	template, err := template(card)
	if err != nil {
		return nil, err
	}
	made, err := libp2ptls.NewIdentity(i.key, libp2ptls.WithCertTemplate(template))
	if err != nil {
		return nil, fmt.Errorf("make TLS identity: %w", err)
	}
	i.made, i.card = made, card
	return made, nil
}

// template is what libp2p makes a certificate from. Nobody reads more of it
// than the extensions.
func template(card []byte) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{SerialNumber: serial.String()},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
	}
	if card != nil {
		t.ExtraExtensions = []pkix.Extension{{Id: cardExtension, Value: card}}
	}
	return t, nil
}

// config is for one handshake with the peer of that ID; an empty ID takes any
// peer that proves one. Only members get through. The channel then has their
// key.
func (i *identity) config(id libpeer.ID) (*tls.Config, <-chan crypto.PubKey, error) {
	made, err := i.current()
	if err != nil {
		return nil, nil, err
	}
	config, proven := made.ConfigForPeer(id)
	checked := make(chan crypto.PubKey, 1)
	prove := config.VerifyPeerCertificate
	config.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
		if err := prove(raw, chains); err != nil {
			return err
		}
		key := <-proven // it is there already
		if err := i.check(key, raw[0]); err != nil {
			return err
		}
		checked <- key
		return nil
	}
	return config, checked, nil
}

// check asks whether the owner of key, who showed that certificate, is a
// member.
func (i *identity) check(key crypto.PubKey, certificate []byte) error {
	id, err := libpeer.IDFromPublicKey(key)
	if err != nil {
		return fmt.Errorf("peer certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return fmt.Errorf("peer certificate: %w", err)
	}
	var card []byte
	for _, e := range cert.Extensions {
		if e.Id.Equal(cardExtension) {
			card = e.Value
		}
	}
	if err := i.members.Check(id.String(), card); err != nil {
		return fmt.Errorf("peer %s is not admitted: %w", id, err)
	}
	return nil
}
