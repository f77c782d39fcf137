package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A digest has one size. Manifests say it, and peers, and both may lie; only what a
// download reads from its origin shows who is right. Who asks by a false manifest is
// served by nobody: the client would refuse the right size as well. But others must
// not suffer by it: a download of a false size ends as soon as its origin
// contradicts it, and begins anew with the right one for whoever says that, or
// nothing.

// errOtherSize is for who says another size than the download that runs goes by. If
// the download's own origin does not contradict that, the second goes past it, and
// fails by itself if it is wrong.
var errOtherSize = errors.New("the blob is arriving with another size")

// contradicts is an errOtherSize if a blob cannot have both ref's size and this
// one.
func (ref Ref) contradicts(size int64) error {
	if ref.Size == size || ref.Size == scheduler.SizeUnknown || size == scheduler.SizeUnknown {
		return nil
	}
	return fmt.Errorf("%w: %d bytes, not %d", errOtherSize, size, ref.Size)
}

// sizeError is the origin's word against a size.
type sizeError struct{ says, expected int64 }

func (e *sizeError) Error() string {
	return fmt.Sprintf("origin says the blob has %d bytes, expected %d", e.says, e.expected)
}

// refuted asks the origin of the download that runs for the size, when somebody says
// another. If the origin contradicts the download, it is ended: true says that the
// way is free for a new one. Another client's origin is not asked: it may be the one
// that lies.
func (p *Peer) refuted(ctx context.Context, dg piece.Digest) bool {
	d := p.running(dg)
	if d == nil {
		return true
	}
	size := d.board.size(d.ref.Size)
	if d.ref.Source == nil || size == scheduler.SizeUnknown {
		return false
	}
	says, err := d.ref.Source.Stat(ctx)
	if err != nil || says == scheduler.SizeUnknown || says == size {
		return false
	}
	p.sizes.add(dg, says, time.Now())
	d.post(func() { d.fail(&sizeError{says, size}) })
	select {
	case <-d.done:
		return true
	case <-ctx.Done():
		return false
	}
}
