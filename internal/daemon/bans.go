package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What one scheduler is told by an operator about a peer, all must know. Schedulers tell
// it each other at once; whatever one has missed, because it was away, cut off or slow, it
// hears when it comes back, and within seconds at the latest (cluster.Config.News). Of two
// words on a peer the later one holds everywhere (member.Bans).
//
// What members' blames lead to stays with the scheduler that they blamed at. Each believes a
// member only so often (pkg/scheduler/doubt.go); were what follows told to the others, members that
// lie could have so many peers put out everywhere at each scheduler.

// The two limits are one.
var _ [0]struct{} = [member.BanMost - scheduler.BanMost]struct{}{}

// banNews is one word on a peer as schedulers tell it each other. What else they tell
// each other goes with it: a scheduler that does not know of that takes it for a ban of
// nobody, which it does not heed.
type banNews struct {
	member.Ban
	// Preheats are jobs, as preheat.Desk tells of them.
	Preheats json.RawMessage `json:"preheats,omitempty"`
}

const (
	// banWait bounds how long the brain may take to hear of a ban.
	banWait = 5 * time.Second
)

// recall tells the brain, which must not run yet, of bans from an earlier life.
func (h *Hub) recall() {
	now := time.Now()
	for _, word := range h.bans.All(now) {
		if word.Lifts() || now.Before(word.Until) {
			h.core.Step(now, h.event(word, now))
		}
	}
}

// event is what the brain is told when a word is news.
func (h *Hub) event(word member.Ban, now time.Time) scheduler.Event {
	id := scheduler.PeerID(word.Peer)
	if holds, is := h.bans.Find(word.Peer, now); is {
		return scheduler.BanPeer{Peer: id, For: holds.Until.Sub(now), At: holds.At, Reason: holds.Reason, Blamed: holds.Blamed}
	}
	return scheduler.UnbanPeer{Peer: id, At: word.At}
}

// heed has the brain do as a word says that the register has.
func (h *Hub) heed(ctx context.Context, word member.Ban) error {
	switch e := h.event(word, time.Now()).(type) {
	case scheduler.BanPeer:
		return h.server.Ban(ctx, e)
	case scheduler.UnbanPeer:
		return h.server.Unban(ctx, e)
	}
	return nil
}

// ban has this scheduler and all others close their swarms to a peer.
func (h *Hub) ban(ctx context.Context, b scheduler.BanPeer) error {
	word := h.bans.Order(string(b.Peer), b.For, b.Reason, time.Now())
	err := h.heed(ctx, word)
	h.spread([]member.Ban{word})
	return err
}

// unban takes that back.
func (h *Hub) unban(ctx context.Context, p scheduler.PeerID) error {
	words := h.bans.Lift(string(p), time.Now())
	err := h.heed(ctx, words[0])
	h.spread(words)
	return err
}

// expelled hears from the brain whom members blame. It does not block.
func (h *Hub) expelled(e scheduler.Expel) {
	h.bans.Blame(string(e.Peer), e.For, e.Reason, time.Now())
}

// concernsAll reports whether a word is for all schedulers: an operator's is, also where
// it takes back what members' blames led to.
func concernsAll(word member.Ban) bool { return !word.Blamed || word.Lifts() }

// spread has words outlive this process, and the other schedulers hear them.
func (h *Hub) spread(words []member.Ban) {
	h.keepBans()
	if h.fleet == nil {
		return
	}
	news := make([]banNews, 0, len(words))
	for _, w := range words {
		news = append(news, banNews{Ban: w})
	}
	if text, err := json.Marshal(news); err == nil {
		h.fleet.Tell(text)
	}
}

// keepBans writes them down. Where that cannot be, as where the key is mounted
// read-only, the other schedulers remember them.
func (h *Hub) keepBans() {
	if err := h.bans.Keep(time.Now()); err != nil {
		h.unkept.Do(func() {
			h.log.Warn("bans are not written down: once all schedulers are stopped at a time, they are forgotten", "err", err)
		})
	}
}

// news is what another scheduler must know: bans and what lifted them, and jobs, if it
// has just come.
func (h *Hub) news(came bool) []byte {
	var news []banNews
	for _, word := range h.bans.All(time.Now()) {
		if concernsAll(word) {
			news = append(news, banNews{Ban: word})
		}
	}
	if came {
		if jobs := h.desk.News(); jobs != nil {
			news = append(news, banNews{Preheats: jobs})
		}
	}
	text, err := json.Marshal(news)
	if err != nil || len(news) == 0 {
		return nil
	}
	return text
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
	changed := false
	for _, b := range news {
		if len(b.Preheats) > 0 {
			h.desk.Heard(b.Preheats)
			continue
		}
		if b.Peer == "" || !concernsAll(b.Ban) {
			continue // news of a kind that later versions know, or only earlier ones tell
		}
		news, err := h.heardBan(ctx, dated(b.Ban, time.Now()))
		changed = changed || news
		if err != nil {
			h.log.Warn("a ban that another scheduler tells of is not heeded", "peer", b.Peer, "err", err)
		}
	}
	if changed {
		h.keepBans()
	}
}

// heardBan heeds a word if it is news.
func (h *Hub) heardBan(ctx context.Context, word member.Ban) (news bool, err error) {
	if news, err = h.bans.Merge(word, time.Now()); !news || err != nil {
		return news, err
	}
	if err := h.heed(ctx, word); err != nil {
		return true, fmt.Errorf("the brain is not told: %w", err)
	}
	return true, nil
}

// dated is a word of a scheduler of an earlier version, which did not say when it was given: it
// lifts what was given before now, or bans unless anybody has lifted it.
func dated(word member.Ban, now time.Time) member.Ban {
	switch {
	case !word.At.IsZero():
	case word.Lifts():
		word.At = now
	default:
		word.At = word.Until.Add(-member.BanMost)
	}
	return word
}
