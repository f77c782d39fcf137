package member

import "crypto/ed25519"

// NodeOf is what the machine is called whose credential that is; "" if it does
// not say. It checks nothing: that was for Admit.
func (*Authority) NodeOf(raw []byte) string {
	n := len(raw) - ed25519.SignatureSize
	if n < 0 {
		return ""
	}
	c, err := parseCredential(raw[:n])
	if err != nil {
		return ""
	}
	return c.Node
}
