package peer

import (
	"sync/atomic"
	"time"
)

// unheard is who did not answer a download lately, of those who are asked to
// begin with. The next download gives them little time: an image is a manifest,
// a configuration and layers, one after the other, and waiting anew for each
// would cost a pull several times what it may lose. Any answer takes it back.
type unheard struct{ scheduler, directory atomic.Bool }

// silence is how long a scheduler whose stream is up may not answer at all.
func (u *unheard) silence() time.Duration {
	if u.scheduler.Load() {
		return schedulerGrace
	}
	return silence
}

// seekFirst bounds the first look around in the directory.
func (u *unheard) seekFirst() time.Duration {
	if u.directory.Load() {
		return 0
	}
	return seekFirst
}

// unheard reports whether calls for help go unanswered: the scheduler hangs, or
// knows no reason to wait. Among neighbours that answer there is time to find out
// which.
func (d *download) unheard(now time.Time) bool {
	wait := d.p.unheard.silence()
	if d.companions() > 0 {
		wait = takeAnyway
	}
	if d.unanswered.IsZero() || now.Sub(d.unanswered) <= wait {
		return false
	}
	d.p.unheard.scheduler.Store(true)
	return true
}
