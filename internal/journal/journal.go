package journal

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	// storiesMost is how many blobs are remembered; the one of which nothing
	// was noted for longest goes first. It is a dozen large images.
	storiesMost = 512
	// entriesMost bounds the entries of one story. The first firstKept stay;
	// of the rest the last ones do, so that beginning and end are there.
	entriesMost = 128
	firstKept   = 48
	// textMost bounds an entry's text, in bytes; with it all stories together
	// take some 20 MiB at the very most, and one or two usually.
	textMost = 240
)

// Kind says what an entry is about.
type Kind string

// The kinds.
const (
	Asked      Kind = "asked"      // a client asked for the blob
	Refused    Kind = "refused"    // a client did not get it, and why
	Joined     Kind = "joined"     // the swarm was joined, or looked for
	Introduced Kind = "introduced" // the scheduler named neighbours
	Parted     Kind = "parted"     // a neighbour is one no more
	Blamed     Kind = "blamed"     // a neighbour was reported
	Lease      Kind = "lease"      // a read from the origin was granted
	LeaseEnd   Kind = "lease end"  // it ended, or was taken back
	Waiting    Kind = "waiting"    // nothing comes, or the scheduler asks to wait
	False      Kind = "false"      // bytes were not what was promised
	Repaired   Kind = "repaired"   // it is known which they were
	Complete   Kind = "complete"   // the blob is whole
	Failed     Kind = "failed"     // the download ended without it
	Left       Kind = "left"       // nobody wanted it any more
)

// Entry is one thing that happened. Equal ones in a row are one: At is when the
// first of them happened, Last the last.
type Entry struct {
	At, Last time.Time
	Times    int
	Kind     Kind
	Text     string
}

// Story is what happened to one blob, by its digest, or to a tag, by the name
// HOST/REPOSITORY:TAG.
type Story struct {
	Name    string
	Entries []Entry
	// Dropped is how many entries are missing after the first ones.
	Dropped int
	// Given is who gave the bytes of the last download that ended; those
	// who gave most first.
	Given []Given
}

// Given is how much one source gave of a blob. From is a peer's ID, or one of
// the words below.
type Given struct {
	From  string
	Bytes int64
}

// The sources that are no peers.
const (
	FromOrigin = "origin" // the registry
	FromDisk   = "disk"   // it was here from an earlier download
)

// givenMost bounds the sources that are remembered of one blob.
const givenMost = 64

// Listener hears what is noted, at once. It must not block.
type Listener interface {
	Noted(name string, at time.Time, k Kind, text string)
	Settled(name string, given []Given)
}

// Journal is the stories. The zero value is ready, nil remembers nothing, and
// it is safe for concurrent use.
type Journal struct {
	// Listeners hear of all that is noted. They are set before anything is.
	Listeners []Listener

	mu      sync.Mutex // guards what follows
	stories map[string]*list.Element
	order   list.List // of *Story, the one noted last in front
}

// Note adds an entry to the story of a blob or a tag.
func (j *Journal) Note(name string, at time.Time, k Kind, text string) {
	if j == nil {
		return
	}
	for _, l := range j.Listeners {
		l.Noted(name, at, k, text)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.story(name)
	if len(text) > textMost {
		text = text[:textMost] + "…"
	}
	if n := len(s.Entries); n > 0 {
		if last := &s.Entries[n-1]; last.Kind == k && last.Text == text {
			last.Times++
			last.Last = at
			return
		}
	}
	if len(s.Entries) >= entriesMost {
		s.Entries = slices.Delete(s.Entries, firstKept, firstKept+1)
		s.Dropped++
	}
	s.Entries = append(s.Entries, Entry{At: at, Last: at, Times: 1, Kind: k, Text: text})
}

// Settle says who gave the bytes of a download that has ended.
func (j *Journal) Settle(name string, given []Given) {
	if j == nil {
		return
	}
	for _, l := range j.Listeners {
		l.Settled(name, given)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.story(name).Given = slices.Clone(given[:min(len(given), givenMost)])
}

// story is that of a blob, new or known, as the one noted last. mu is held.
func (j *Journal) story(name string) *Story {
	if j.stories == nil {
		j.stories = make(map[string]*list.Element)
	}
	if e := j.stories[name]; e != nil {
		j.order.MoveToFront(e)
		return storyIn(e)
	}
	for len(j.stories) >= storiesMost {
		delete(j.stories, storyIn(j.order.Back()).Name)
		j.order.Remove(j.order.Back())
	}
	s := &Story{Name: name}
	j.stories[name] = j.order.PushFront(s)
	return s
}

func storyIn(e *list.Element) *Story { return e.Value.(*Story) } //nolint:errcheck,forcetypeassert // the list holds nothing else

// Of is a copy of a story; false if there is none.
func (j *Journal) Of(name string) (Story, bool) {
	if j == nil {
		return Story{}, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.stories[name]
	if e == nil {
		return Story{}, false
	}
	s := *storyIn(e)
	s.Entries, s.Given = slices.Clone(s.Entries), slices.Clone(s.Given)
	return s, true
}

// Recent are the last entries of all stories, that noted last first.
func (j *Journal) Recent() []Story {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]Story, 0, len(j.stories))
	for e := j.order.Front(); e != nil; e = e.Next() {
		s := *storyIn(e)
		s.Entries = slices.Clone(s.Entries[max(0, len(s.Entries)-1):])
		all = append(all, s)
	}
	return all
}
