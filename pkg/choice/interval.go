package choice

import "time"

// Interval says when something is due that is looked at each Least, and wanted that
// often or less often. Its zero value, but for Least, has it due at the next look.
type Interval struct {
	// Least is how often it is looked at.
	Least time.Duration

	since time.Time // when this one began
	part  float64   // of those that follow that this one lasts
}

// Begin starts a first interval, which lasts any part of those that follow: part is
// drawn from [0, 1), so that a crowd that begins at once goes on evenly.
func (i *Interval) Begin(now time.Time, part float64) { i.since, i.part = now, part }

// Over reports whether the interval is over, where each lasts every, and if so begins
// the next. A look may come a little early.
func (i *Interval) Over(now time.Time, every time.Duration) bool {
	if every > i.Least && now.Sub(i.since) < time.Duration(i.part*float64(every))-i.Least/8 {
		return false
	}
	i.since, i.part = now, 1
	return true
}
