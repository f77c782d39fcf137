package daemon

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/web"
)

// PageConfig is where others than this machine's operators see the live page: by
// an Ingress, or a load balancer. Nothing can be changed there.
type PageConfig struct {
	// Listen is IP:PORT; empty: nowhere.
	Listen string `json:"listen"`
	// TLS is what that listener shows.
	TLS ServerTLS `json:"tls"`
	// Plaintext says that what stands before Listen ends TLS, and that tokens may
	// cross the network from there in the clear.
	Plaintext bool `json:"plaintext"`
	// TokenFile holds the tokens that are good there, one a line.
	TokenFile string `json:"tokenFile"`
}

func (c *PageConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.Listen, "page-listen", "`IP:PORT` where an Ingress reaches the live page, which changes nothing; empty: nowhere")
	text(fs, &c.TLS.CertFile, "page-tls-cert-file", "`file` with the certificate of page.listen")
	text(fs, &c.TLS.KeyFile, "page-tls-key-file", "`file` with that certificate's key")
	fs.BoolVar(&c.Plaintext, "page-plaintext", c.Plaintext, "let page.listen be open to others without TLS: what stands before it ends TLS")
	text(fs, &c.TokenFile, "page-token-file", "`file` with the tokens for page.listen, one a line; one is made on the first start")
}

// listener is where the page is.
func (c PageConfig) listener() guarded {
	return guarded{key: "page", listen: c.Listen, tls: c.TLS, tokenFile: c.TokenFile}
}

// page checks where others see the page.
func (p *problems) page(c PageConfig) {
	if p.guarded(c.listener()) && !c.Plaintext {
		p.add("page.listen", c.Listen, "is open to others, and tokens would cross the network in the clear; set page.tls.certFile and keyFile, or page.plaintext where an Ingress ends TLS and its way here is safe, or use 127.0.0.1:PORT")
	}
}

// paged shows the page until ctx ends.
func (h *Hub) paged(ctx context.Context) error {
	h.log.Info("showing the live page", "listen", h.pageL.Addr().String())
	return serveAdmin(ctx, h.pageL, web.New(web.Config{
		Guard: web.ByTokens(h.cfg.Page.listener().tokens), TokenKey: "page.tokenFile", ReadOnly: true,
		Brain: operated{h}, Preheats: h.desk, Ledger: &h.ledger, Version: h.version, Started: time.Now(), Logger: h.log,
	}))
}
