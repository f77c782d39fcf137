package journal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(s int) time.Time { return time.Unix(int64(s), 0) }

func blob(i int) string { return fmt.Sprint("blob ", i) }

func TestNote(t *testing.T) {
	var j Journal
	j.Note(blob(1), at(1), Asked, "by a client")
	j.Note(blob(2), at(2), Asked, "by another")
	j.Note(blob(1), at(3), Waiting, "nothing comes")
	j.Note(blob(1), at(4), Waiting, "nothing comes")
	j.Note(blob(1), at(5), Complete, strings.Repeat("x", 2*textMost))
	got, ok := j.Of(blob(1))
	want := Story{Name: blob(1), Entries: []Entry{
		{At: at(1), Last: at(1), Times: 1, Kind: Asked, Text: "by a client"},
		{At: at(3), Last: at(4), Times: 2, Kind: Waiting, Text: "nothing comes"},
		{At: at(5), Last: at(5), Times: 1, Kind: Complete, Text: strings.Repeat("x", textMost) + "…"},
	}}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("found %v (-want +got):\n%s", ok, diff)
	}
	recent := j.Recent()
	if len(recent) != 2 || recent[0].Name != blob(1) || recent[0].Entries[0].Kind != Complete || recent[1].Entries[0].Text != "by another" {
		t.Errorf("recent: %+v", recent)
	}
	got.Entries[0].Text = "changed"
	if again, _ := j.Of(blob(1)); again.Entries[0].Text == "changed" {
		t.Error("a change of the copy changed the journal")
	}
	if _, ok := j.Of(blob(3)); ok {
		t.Error("there is a story of a blob of which nothing was noted")
	}
}

// Of a long story the beginning and the end are kept.
func TestALongStory(t *testing.T) {
	var j Journal
	const n = 3 * entriesMost
	for i := range n {
		j.Note(blob(1), at(i), Parted, fmt.Sprint(i))
	}
	s, _ := j.Of(blob(1))
	if len(s.Entries) != entriesMost || s.Dropped != n-entriesMost {
		t.Fatalf("%d entries, %d dropped", len(s.Entries), s.Dropped)
	}
	for i, e := range s.Entries {
		want := i
		if i >= firstKept {
			want = n - entriesMost + i
		}
		if e.Text != fmt.Sprint(want) {
			t.Fatalf("entry %d is %s, want %d", i, e.Text, want)
		}
	}
}

// Of many stories the ones noted last are kept.
func TestManyStories(t *testing.T) {
	var j Journal
	for i := range storiesMost + 10 {
		j.Note(blob(i), at(i), Asked, "")
		j.Note(blob(0), at(i), Asked, "again")
	}
	if got := len(j.Recent()); got != storiesMost {
		t.Errorf("%d stories", got)
	}
	for i, want := range map[int]bool{0: true, 1: false, 10: false, 12: true, storiesMost + 9: true} {
		if _, ok := j.Of(blob(i)); ok != want {
			t.Errorf("story %d: %v, want %v", i, ok, want)
		}
	}
}

func TestNoJournal(t *testing.T) {
	var j *Journal
	j.Note(blob(1), at(1), Asked, "")
	if _, ok := j.Of(blob(1)); ok || j.Recent() != nil {
		t.Error("nobody remembers something")
	}
}
