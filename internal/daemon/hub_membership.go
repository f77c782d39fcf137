package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/kubernetes"
	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// The modes of a scheduler's membership.
const (
	modeToken      = "token"      // who has a join token may join
	modeKubernetes = "kubernetes" // and who has a service account's token
	modeOpen       = "open"       // everybody, in plaintext
)

// HubMembership is how a scheduler decides who may join.
type HubMembership struct {
	Mode string `json:"mode"`
	// KeyFile holds the cluster's private key; it is made on the first start.
	// All schedulers of a cluster have the same one.
	KeyFile string `json:"keyFile"`
	// CredentialLife is how long peers know each other without a scheduler.
	CredentialLife Duration `json:"credentialLife"`
	// Strict has the scheduler give tickets, which nodes that are strict want to see
	// of each other.
	Strict bool `json:"strict"`
	// RefuseTokens are the IDs of join tokens that let nobody in any more.
	RefuseTokens Names `json:"refuseTokens"`
	// Audience and ServiceAccounts are for mode kubernetes.
	Audience        string `json:"audience"`
	ServiceAccounts Names  `json:"serviceAccounts"`
}

func defaultHubMembership() HubMembership {
	return HubMembership{
		Mode: modeToken, KeyFile: "/var/lib/p2pd-scheduler/cluster.key",
		CredentialLife: Duration(member.DefaultLife), Audience: "p2pd",
	}
}

func (c *HubMembership) flags(fs *pflag.FlagSet) {
	text(fs, &c.Mode, "membership-mode", "who may join: `token` (who has a join token), kubernetes (and who has a service account's) or open (everybody, in plaintext)")
	text(fs, &c.KeyFile, "membership-key-file", "`file` with the cluster's private key, made on the first start; the same one on all schedulers of a cluster")
	fs.Var(&c.CredentialLife, "membership-credential-life", "how long a credential is good; it is renewed after half of that")
	fs.BoolVar(&c.Strict, "membership-strict", c.Strict, "give peers tickets for the swarms that they are in, for nodes with membership.strict")
	fs.Var(&c.RefuseTokens, "membership-refuse-tokens", "IDs of join tokens that let nobody in any more")
	text(fs, &c.Audience, "membership-audience", "`audience` of the service account's tokens, in mode kubernetes")
	fs.Var(&c.ServiceAccounts, "membership-service-accounts", "NAMESPACE/NAME of those that may join, in mode kubernetes")
}

// hubMembership checks what is configured.
func (p *problems) hubMembership(c HubMembership) {
	if c.Mode != modeToken && c.Mode != modeKubernetes && c.Mode != modeOpen {
		p.add("membership.mode", c.Mode, "is no mode; use token, kubernetes or open")
	}
	if c.Mode != modeOpen && c.KeyFile == "" {
		p.add("membership.keyFile", "", "names no file; name one, such as /var/lib/p2pd-scheduler/cluster.key, or set membership.mode to open")
	}
	if c.Mode == modeOpen && c.Strict {
		p.add("membership.strict", true, "needs the cluster's key, which signs tickets; set membership.mode to token or kubernetes")
	}
	if d := time.Duration(c.CredentialLife); d < time.Minute {
		p.add("membership.credentialLife", d, "is too short; use 1m or more")
	}
	for _, id := range c.RefuseTokens {
		if _, err := member.ParseTokenID(id); err != nil {
			p.add("membership.refuseTokens", id, "is not a token's ID; write its 16 digits")
		}
	}
	if c.Mode == modeKubernetes && (c.Audience == "" || len(c.ServiceAccounts) == 0) {
		p.add("membership.serviceAccounts", strings.Join(c.ServiceAccounts, ","), "and membership.audience must both be set in mode kubernetes; name the nodes' account as NAMESPACE/NAME")
	}
}

// bans are those that the scheduler knows from before: they stand beside the key.
func (c HubMembership) bans() (*member.Bans, error) {
	if c.Mode == modeOpen {
		return new(member.Bans), nil
	}
	return member.OpenBans(c.KeyFile + ".bans")
}

// Tickets are renewed after half of their life.
var _ [0]struct{} = [member.TicketLife/2 - scheduler.TicketRenew]struct{}{}

// fence is how a scheduler is closed; zero if it is open.
type fence struct {
	guard     *rpc.Guard
	authority *member.Authority
	key       member.Key
	made      bool // the key is new
	// platform is asked whose tokens are, and about nodes' labels; nil if none is.
	platform *kubernetes.Client
}

// fence opens the key and makes what follows from it.
func (c HubMembership) fence(bans *member.Bans) (f fence, err error) {
	if c.Mode == modeOpen {
		return fence{}, nil
	}
	f.key, f.made, err = member.OpenKey(c.KeyFile)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; name another file, or set membership.mode to open", err)
	}
	if err != nil {
		return fence{}, fmt.Errorf("membership.keyFile: %w", err)
	}
	certificate, err := f.key.Certificate(time.Now())
	if err != nil {
		return fence{}, err
	}
	a := member.AuthorityConfig{Key: f.key, Life: time.Duration(c.CredentialLife), Bans: bans}
	for _, text := range c.RefuseTokens {
		id, err := member.ParseTokenID(text)
		if err != nil {
			return fence{}, fmt.Errorf("membership.refuseTokens: %w", err)
		}
		a.Refused = append(a.Refused, id)
	}
	if c.Mode == modeKubernetes {
		api, err := kubernetes.InCluster()
		if err != nil {
			return fence{}, fmt.Errorf("membership.mode kubernetes: %w", err)
		}
		f.platform = api
		a.Review = func(ctx context.Context, token string) (string, error) { return c.review(ctx, api, token) }
	}
	f.authority = member.NewAuthority(a)
	f.guard = &rpc.Guard{Certificate: certificate, Warden: f.authority}
	return f, nil
}

// review asks the platform for whom a token was made.
func (c HubMembership) review(ctx context.Context, api *kubernetes.Client, token string) (node string, err error) {
	account, err := api.Review(ctx, token, c.Audience)
	if err != nil {
		return "", err
	}
	if !slices.Contains(c.ServiceAccounts, account.Name) {
		return "", fmt.Errorf("service account %s may not join: membership.serviceAccounts names %s", account.Name, strings.Join(c.ServiceAccounts, ", "))
	}
	return account.Node, nil
}
