package member

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

const (
	// BanMost is the longest that a ban lasts. The latest word on a peer is remembered
	// for as long: by then whatever it replaces is over.
	BanMost = 30 * 24 * time.Hour
	// maxBans bounds what is remembered of bans and of what lifted them. Past it
	// the ban goes that ends soonest.
	maxBans = 8 << 10
	// maxBanReason and maxBanPeer bound what others may have this one remember.
	maxBanReason = 1024
	maxBanPeer   = 128
	// maxBansFile is above what maxBans of the longest take.
	maxBansFile = maxBans * (maxBanReason*6 + maxBanPeer + 256)
)

// Ban is the latest word on a peer: that it is kept out, or that it is so no more.
// An operator's and what members' blames lead to are two words: the one does not
// take the other back, only an operator who lifts bans lifts both.
type Ban struct {
	Peer string `json:"peer"`
	// At is when the word was given. Of two, the later one holds.
	At time.Time `json:"at"`
	// Until is when the ban is over; zero lifts what was given before At.
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	Blamed bool      `json:"blamed,omitempty"` // by members; else by an operator
}

// Lifts reports whether that is a word that lifts a ban.
func (b Ban) Lifts() bool { return b.Until.IsZero() }

// over is when the word can be forgotten: when nothing that it replaces can last any
// more. Blames all last alike.
func (b Ban) over() time.Time {
	if b.Blamed && !b.Lifts() {
		return b.Until
	}
	return b.At.Add(BanMost)
}

// spent is when the word is missed the least.
func (b Ban) spent() time.Time {
	if b.Lifts() {
		return b.over()
	}
	return b.Until
}

// newer reports whether b holds against an older word. Words of one moment, given
// by two schedulers, are ordered so that all agree, and rather closed than open.
func (b Ban) newer(old Ban) bool {
	return cmp.Or(b.At.Compare(old.At), b.Until.Compare(old.Until)) > 0
}

// wellFormed says why b cannot be anybody's word.
func (b Ban) wellFormed() error {
	switch {
	case b.Peer == "" || len(b.Peer) > maxBanPeer:
		return fmt.Errorf("a ban's peer has %d bytes, not 1 to %d", len(b.Peer), maxBanPeer)
	case len(b.Reason) > maxBanReason:
		return fmt.Errorf("a ban's reason has %d bytes, more than %d", len(b.Reason), maxBanReason)
	case !b.Lifts() && b.Until.Sub(b.At) > BanMost+clockSkew:
		return fmt.Errorf("a ban of %v is longer than %v", b.Until.Sub(b.At), BanMost)
	}
	return nil
}

// ofBan tells the two words on a peer apart.
type ofBan struct {
	peer   string
	blamed bool
}

// Bans are the latest words on peers that somebody has banned. What was said on one
// scheduler or peer and is merged at all others, in whatever order and however often, is
// the same everywhere. The methods may be called from many goroutines. The zero
// value remembers in memory only.
type Bans struct {
	mu   sync.Mutex    // guards what follows
	of   map[ofBan]Ban // nothing that is over for long
	file string        // "": none
}

// OpenBans reads what Keep wrote to file, and has Keep write there. A file that is
// missing is no error.
func OpenBans(file string) (*Bans, error) {
	b := &Bans{file: file}
	text, err := readFile(file, true, maxBansFile)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bans: %w", err)
	}
	var all []Ban
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("bans: %s holds something else (%w); repair it, or remove it to forget all bans", file, err)
	}
	for _, one := range all {
		if _, err := b.Merge(one, time.Now()); err != nil {
			return nil, fmt.Errorf("bans: %s: %w; repair it, or remove it to forget all bans", file, err)
		}
	}
	return b, nil
}

// Keep writes all to the file; without one it does nothing.
func (b *Bans) Keep(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == "" {
		return nil
	}
	text, err := json.Marshal(b.all(now))
	if err != nil {
		return fmt.Errorf("keep bans: %w", err)
	}
	if err := renameio.WriteFile(b.file, text, 0o600); err != nil {
		return fmt.Errorf("keep bans: %w", err)
	}
	return nil
}

// Order bans a peer for so long, at most BanMost, and returns the word that others must hear.
func (b *Bans) Order(peer string, long time.Duration, reason string, now time.Time) Ban {
	return b.say(Ban{Peer: peer, Reason: reason}, long, now)
}

// Blame is Order by members.
func (b *Bans) Blame(peer string, long time.Duration, reason string, now time.Time) Ban {
	return b.say(Ban{Peer: peer, Reason: reason, Blamed: true}, long, now)
}

// Lift lets a peer in again, whoever banned it, and returns the words that others must
// hear. It need not be banned as far as is known here.
func (b *Bans) Lift(peer string, now time.Time) []Ban {
	return []Ban{b.say(Ban{Peer: peer}, 0, now), b.say(Ban{Peer: peer, Blamed: true}, 0, now)}
}

// say remembers a word that is given now; it is later than what is known, whatever
// the clock says.
func (b *Bans) say(word Ban, long time.Duration, now time.Time) Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	word.At = now.Round(0).UTC()
	if old, ok := b.of[ofBan{word.Peer, word.Blamed}]; ok && !word.At.After(old.At) {
		word.At = old.At.Add(1)
	}
	if long > 0 {
		word.Until = word.At.Add(min(long, BanMost))
	}
	b.put(word, now)
	return word
}

// Merge takes somebody else's word; changed says whether it was news. It fails for
// what cannot be a word.
func (b *Bans) Merge(word Ban, now time.Time) (changed bool, err error) {
	if err := word.wellFormed(); err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.of[ofBan{word.Peer, word.Blamed}]; ok && !word.newer(old) || !now.Before(word.over()) {
		return false, nil
	}
	b.put(word, now)
	return true, nil
}

// put stores a word and makes room for it; b.mu is held.
func (b *Bans) put(word Ban, now time.Time) {
	key := ofBan{word.Peer, word.Blamed}
	if b.of == nil {
		b.of = make(map[ofBan]Ban)
	}
	if _, again := b.of[key]; !again && len(b.of) >= maxBans {
		b.lapse(now)
	}
	if _, again := b.of[key]; !again && len(b.of) >= maxBans {
		soonest := key
		for k, one := range b.of {
			if soonest == key || one.spent().Before(b.of[soonest].spent()) {
				soonest = k
			}
		}
		delete(b.of, soonest)
	}
	b.of[key] = word
}

// lapse forgets what is over; b.mu is held.
func (b *Bans) lapse(now time.Time) {
	for k, one := range b.of {
		if !now.Before(one.over()) {
			delete(b.of, k)
		}
	}
}

// Find is the ban on a peer that lasts longest; false if it is not banned.
func (b *Bans) Find(peer string, now time.Time) (found Ban, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, blamed := range []bool{false, true} {
		if one, ok := b.of[ofBan{peer, blamed}]; ok && now.Before(one.Until) && one.Until.After(found.Until) {
			found, is = one, true
		}
	}
	return found, is
}

// Check says why a peer is kept out.
func (b *Bans) Check(peer string, now time.Time) error {
	if found, is := b.Find(peer, now); is {
		return fmt.Errorf("%w until %s: %s", ErrBanned, found.Until.UTC().Format(time.RFC3339), found.Reason)
	}
	return nil
}

// All are the words that are not over, by peer.
func (b *Bans) All(now time.Time) []Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all(now)
}

func (b *Bans) all(now time.Time) []Ban {
	b.lapse(now)
	all := make([]Ban, 0, len(b.of))
	for _, one := range b.of {
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y Ban) int {
		if x.Peer == y.Peer && x.Blamed != y.Blamed {
			return map[bool]int{false: -1, true: 1}[x.Blamed]
		}
		return cmp.Compare(x.Peer, y.Peer)
	})
	return all
}
