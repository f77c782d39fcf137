package rpc

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// namer is a Warden whose credentials say what machines are called.
type namer interface {
	NodeOf(credential []byte) string
}

// nodeOf is what the machine at the other end of a call is called, by the
// credential that let it in; "" on an open scheduler, where nobody proves it.
func (g *Guard) nodeOf(ctx context.Context) string {
	if g == nil {
		return ""
	}
	w, names := g.Warden.(namer)
	shown := metadata.ValueFromIncomingContext(ctx, credentialKey)
	if !names || len(shown) != 1 {
		return ""
	}
	return w.NodeOf([]byte(shown[0]))
}
