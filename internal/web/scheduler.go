package web

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// reasonMost bounds the reason of a ban, in bytes.
const reasonMost = 500

func (s *Server) schedulerRoutes() []route {
	pages := []param{
		{"after", "string", "the next of the page before; absent: from the start"},
		{"limit", "integer", fmt.Sprintf("how many at most; absent: %d; more than %d is %d", scheduler.PageDefault, scheduler.PageMost, scheduler.PageMost)},
	}
	active := param{"active", "boolean", "only those in which somebody misses something"}
	return []route{
		{
			method: http.MethodGet, path: "/swarms", of: ofScheduler, summary: "A page of the swarms, by digest",
			query: append([]param{active}, pages...), returns: api.SwarmList{}, serve: s.swarms,
		}, {
			method: http.MethodGet, path: "/swarms/{digest}", of: ofScheduler, summary: "One swarm with a page of its members",
			query: pages, returns: api.SwarmDetail{}, serve: s.swarm,
		}, {
			method: http.MethodGet, path: "/peers", of: ofScheduler, summary: "A page of the peers, by ID: those connected and those banned",
			query: pages, returns: api.PeerList{}, serve: s.peers,
		}, {
			method: http.MethodGet, path: "/peers/{id}", of: ofScheduler, summary: "One peer and the swarms that it is a member of",
			returns: api.PeerDetail{}, serve: s.peer,
		}, {
			method: http.MethodPost, path: "/peers/{id}/ban", of: ofScheduler, summary: "Close all swarms to a peer, connected or not; a second ban replaces the first",
			takes: api.BanRequest{}, returns: api.PeerDetail{}, serve: s.ban,
		}, {
			method: http.MethodDelete, path: "/peers/{id}/ban", of: ofScheduler, summary: "End a ban; the peer connects anew and announces what it has",
			returns: api.PeerDetail{}, serve: s.unban,
		}, {
			method: http.MethodGet, path: "/events", of: ofScheduler, summary: "Snapshots, about one a second, as server-sent events",
			query: []param{{"swarm", "string", "the digest of a swarm to show in detail"}}, returns: api.Snapshot{}, stream: s.watch,
		},
	}
}

// look runs f in the brain and returns what it found. What f writes to stays
// its own: the brain may run it after look has given up.
func look[T any](ctx context.Context, b Brain, f func(now time.Time, s *scheduler.Scheduler) T) (found T, err error) {
	ch := make(chan T, 1)
	if err := b.View(ctx, func(now time.Time, s *scheduler.Scheduler) { ch <- f(now, s) }); err != nil {
		return found, fmt.Errorf("ask the scheduler: %w", err)
	}
	return <-ch, nil
}

// paged is a page of a list.
type paged[T any] struct {
	page []T
	more bool
}

func (s *Server) schedulerStatus(ctx context.Context) (api.SchedulerStatus, error) {
	return look(ctx, s.cfg.Brain, func(now time.Time, core *scheduler.Scheduler) api.SchedulerStatus {
		c := core.Stats()
		active, bans := core.ViewCounts(now)
		return api.SchedulerStatus{
			Peers: c.Peers, Swarms: c.Swarms, ActiveSwarms: active, Members: c.Members, Bans: bans,
			Leases: c.LeasesActive, LeasesDone: c.LeasesDone, LeasesFailed: c.LeasesFailed,
			LeasesExpired: c.LeasesExpired + c.LeasesSlow, Stalls: c.Stalls,
			Blames: api.Blames{False: c.Blames[scheduler.False], Unreachable: c.Blames[scheduler.Unreachable], Slow: c.Blames[scheduler.Slow]},
			Bytes:  api.Bytes{Peers: c.FromPeers, Origin: c.FromOrigin}, Registries: registries(core.ViewHosts(now)),
			Zones: zones(core.ViewZones()),
		}
	})
}

func (s *Server) swarms(r *http.Request) (any, error) {
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	active := false
	if v := r.URL.Query().Get("active"); v != "" {
		if active, err = strconv.ParseBool(v); err != nil {
			return nil, invalid(fmt.Sprintf("active=%.20q is neither true nor false", v), "")
		}
	}
	found, err := look(r.Context(), s.cfg.Brain, func(_ time.Time, core *scheduler.Scheduler) paged[scheduler.SwarmView] {
		page, more := core.ViewSwarms(p, active)
		return paged[scheduler.SwarmView]{page, more}
	})
	if err != nil {
		return nil, err
	}
	list := api.SwarmList{Meta: api.Of("SwarmList"), Items: make([]api.Swarm, 0, len(found.page))}
	for i := range found.page {
		list.Items = append(list.Items, swarm(&found.page[i]))
	}
	if found.more {
		list.Next = list.Items[len(list.Items)-1].Digest
	}
	return list, nil
}

func (s *Server) swarm(r *http.Request) (any, error) {
	d, err := digest(r)
	if err != nil {
		return nil, err
	}
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	type found struct {
		v  scheduler.SwarmDetail
		is bool
	}
	f, err := look(r.Context(), s.cfg.Brain, func(_ time.Time, core *scheduler.Scheduler) found {
		v, is := core.ViewSwarm(d, p)
		return found{v, is}
	})
	if err != nil {
		return nil, err
	}
	if !f.is {
		return nil, absent("there is no swarm of "+d.String(), "a swarm is there while a connected peer holds the blob or wants it; GET "+api.Prefix+"/swarms lists them")
	}
	return swarmDetail(&f.v), nil
}

func (s *Server) peers(r *http.Request) (any, error) {
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	found, err := look(r.Context(), s.cfg.Brain, func(now time.Time, core *scheduler.Scheduler) paged[scheduler.PeerView] {
		page, more := core.ViewPeers(now, p)
		return paged[scheduler.PeerView]{page, more}
	})
	if err != nil {
		return nil, err
	}
	list := api.PeerList{Meta: api.Of("PeerList"), Items: make([]api.Peer, 0, len(found.page))}
	for i := range found.page {
		list.Items = append(list.Items, peer(&found.page[i]))
	}
	if found.more {
		list.Next = list.Items[len(list.Items)-1].ID
	}
	return list, nil
}

func (s *Server) peer(r *http.Request) (any, error) {
	id, err := peerID(r)
	if err != nil {
		return nil, err
	}
	return s.showPeer(r.Context(), id)
}

func (s *Server) showPeer(ctx context.Context, id scheduler.PeerID) (any, error) {
	type found struct {
		v  scheduler.PeerDetail
		is bool
	}
	f, err := look(ctx, s.cfg.Brain, func(now time.Time, core *scheduler.Scheduler) found {
		v, is := core.ViewPeer(now, id)
		return found{v, is}
	})
	if err != nil {
		return nil, err
	}
	if !f.is {
		return nil, absent(fmt.Sprintf("peer %s is not known", id), "it is neither connected nor banned; GET "+api.Prefix+"/peers lists those that are")
	}
	return peerDetail(&f.v), nil
}

func (s *Server) ban(r *http.Request) (any, error) {
	id, err := peerID(r)
	if err != nil {
		return nil, err
	}
	var ask api.BanRequest
	if err := read(r, &ask); err != nil {
		return nil, err
	}
	long, err := time.ParseDuration(ask.For)
	if err != nil || long <= 0 || long > scheduler.BanMost {
		return nil, invalid(fmt.Sprintf("for: %.40q is not how long a ban can be", ask.For), "write a duration such as 10m or 24h, at most "+scheduler.BanMost.String())
	}
	if ask.Reason == "" || len(ask.Reason) > reasonMost {
		return nil, invalid("reason: it has "+strconv.Itoa(len(ask.Reason))+" bytes", fmt.Sprintf("say why, for those who see the ban, in at most %d bytes", reasonMost))
	}
	note(r, "for "+long.String()+": "+ask.Reason)
	if err := s.cfg.Brain.Ban(r.Context(), scheduler.BanPeer{Peer: id, For: long, Reason: ask.Reason}); err != nil {
		return nil, fmt.Errorf("ban: %w", err)
	}
	return s.showPeer(r.Context(), id)
}

// unban answers with what is known of the peer, which may be no more than that
// it is not banned.
func (s *Server) unban(r *http.Request) (any, error) {
	id, err := peerID(r)
	if err != nil {
		return nil, err
	}
	v, err := look(r.Context(), s.cfg.Brain, func(now time.Time, core *scheduler.Scheduler) scheduler.PeerDetail {
		v, _ := core.ViewPeer(now, id)
		return v
	})
	if err != nil {
		return nil, err
	}
	if v.Ban == nil {
		return nil, absent(fmt.Sprintf("peer %s is not banned", id), "GET "+api.Prefix+"/peers shows who is")
	}
	if err := s.cfg.Brain.Unban(r.Context(), id); err != nil {
		return nil, fmt.Errorf("unban: %w", err)
	}
	v.Ban = nil
	return peerDetail(&v), nil
}

// page reads which page is asked for.
func page(r *http.Request) (p scheduler.Page, err error) {
	q := r.URL.Query()
	if v := q.Get("limit"); v != "" {
		if p.Limit, err = strconv.Atoi(v); err != nil || p.Limit < 1 {
			return p, invalid(fmt.Sprintf("limit=%.20q is no number from 1 on", v), "")
		}
	}
	p.After = q.Get("after")
	return p, nil
}

func digest(r *http.Request) (piece.Digest, error) {
	d, err := piece.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return d, invalid(err.Error(), "write it as sha256: and 64 hexadecimal digits")
	}
	return d, nil
}

// peerForm is the text form of libp2p peer IDs, base58 or base36 of a
// multihash; longer than any.
var peerForm = regexp.MustCompile(`^[A-Za-z0-9]{1,128}$`)

func peerID(r *http.Request) (scheduler.PeerID, error) {
	id := r.PathValue("id")
	if !peerForm.MatchString(id) {
		return "", invalid(fmt.Sprintf("%.40q is no peer ID", id), "GET "+api.Prefix+"/peers lists them")
	}
	return scheduler.PeerID(id), nil
}
