package daemon

import (
	"context"
	"encoding/json"
	"time"

	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What one scheduler is told by an operator about a peer, all must know. A
// scheduler that comes up hears of the bans that last; one that could not be
// reached when a ban was lifted may bring it back, and it is lifted again.

// banNews is one ban as schedulers tell it each other. What else they tell each
// other goes with it: a scheduler that does not know of that takes it for a ban of
// nobody, which it does not heed.
type banNews struct {
	Peer   string    `json:"peer"`
	Until  time.Time `json:"until"` // zero: it is lifted
	Reason string    `json:"reason"`
	// Preheats are jobs, as preheat.Desk tells of them.
	Preheats json.RawMessage `json:"preheats,omitempty"`
}

// banWait bounds how long the brain may take to hear of a ban.
const banWait = 5 * time.Second

// ban has this scheduler and all others close their swarms to a peer.
func (h *Hub) ban(ctx context.Context, b scheduler.BanPeer) error {
	err := h.server.Ban(ctx, b)
	if err == nil {
		h.tell(banNews{Peer: string(b.Peer), Until: time.Now().Add(b.For), Reason: b.Reason})
	}
	return err
}

// unban takes that back.
func (h *Hub) unban(ctx context.Context, p scheduler.PeerID) error {
	err := h.server.Unban(ctx, p)
	if err == nil {
		h.tell(banNews{Peer: string(p)})
	}
	return err
}

func (h *Hub) tell(b banNews) {
	if h.fleet == nil {
		return
	}
	if text, err := json.Marshal([]banNews{b}); err == nil {
		h.fleet.Tell(text)
	}
}

// news is what a scheduler that comes up must know: bans that last, and jobs.
func (h *Hub) news() []byte {
	news := h.bans()
	if jobs := h.desk.News(); jobs != nil {
		news = append(news, banNews{Preheats: jobs})
	}
	text, err := json.Marshal(news)
	if err != nil || len(news) == 0 {
		return nil
	}
	return text
}

// bans are those that last.
func (h *Hub) bans() []banNews {
	ctx, cancel := context.WithTimeout(context.Background(), banWait)
	defer cancel()
	found := make(chan []banNews, 1) // Inspect may give up before it runs
	if err := h.server.Inspect(ctx, func(rpc.Core) {
		var news []banNews
		for p, b := range h.core.Bans(time.Now()) {
			news = append(news, banNews{Peer: string(p), Until: b.Until, Reason: b.Reason})
		}
		found <- news
	}); err != nil {
		h.log.Debug("another scheduler is not told of bans", "err", err)
		return nil
	}
	return <-found
}

// heard takes what another scheduler says.
func (h *Hub) heard(text []byte) {
	var news []banNews
	if err := json.Unmarshal(text, &news); err != nil {
		h.log.Warn("another scheduler says what this one does not understand", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), banWait)
	defer cancel()
	for _, b := range news {
		if len(b.Preheats) > 0 {
			h.desk.Heard(b.Preheats)
			continue
		}
		h.heardBan(ctx, b)
	}
}

// heardBan heeds a ban that lasts, or lifts one.
func (h *Hub) heardBan(ctx context.Context, b banNews) {
	long := time.Until(b.Until)
	if b.Peer == "" || len(b.Reason) > maxBanReason || !b.Until.IsZero() && long <= 0 {
		return
	}
	var err error
	if b.Until.IsZero() {
		err = h.server.Unban(ctx, scheduler.PeerID(b.Peer))
	} else {
		err = h.server.Ban(ctx, scheduler.BanPeer{Peer: scheduler.PeerID(b.Peer), For: long, Reason: b.Reason})
	}
	if err != nil {
		h.log.Warn("a ban that another scheduler tells of is not heeded", "peer", b.Peer, "err", err)
	}
}

// maxBanReason bounds what another scheduler may have this one say.
const maxBanReason = 1024
