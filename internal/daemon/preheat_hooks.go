package daemon

import (
	"context"

	"github.com/p2pd/p2pd/internal/web"
)

// hooks is the listener where registries ask for preheats.
func (c PreheatConfig) hooks() guarded {
	return guarded{key: "preheat", listen: c.Listen, tls: c.TLS, tokenFile: c.TokenFile}
}

// hooked answers registries until ctx ends.
func (h *Hub) hooked(ctx context.Context) error {
	h.log.Info("answering registries", "listen", h.hooksL.Addr().String())
	return serveAdmin(ctx, h.hooksL, web.NewHooks(web.HooksConfig{
		Guard: web.ByTokens(h.cfg.Preheat.hooks().tokens), Desk: h.desk, Rules: h.cfg.Preheat.Rules, Clusters: h.cfg.Preheat.Clusters.zones(), Logger: h.log,
	}))
}
