package choice

import "time"

// How much a peer asks for at a time.
const (
	// MaxFetches bounds the pieces under way to one download from all
	// neighbours together. Fewer at a time finish sooner each and can be
	// passed on sooner.
	MaxFetches = 6
	// NodeFetches bounds those of all downloads of a node together, but each
	// may have minFetches: with five layers at six pieces each a piece
	// would take five times as long, and so would the first of a layer.
	NodeFetches = 8
	minFetches  = 2
	// maxEarly bounds what Pace.Early adds to both.
	maxEarly = 4
	// AheadFetches bounds the pieces under way to a node, those that readers
	// wait for included, for one more to be asked for that nobody waits for
	// yet. That is few enough to leave the line to a reader's MaxFetches, and
	// enough to fill it when readers want nothing.
	AheadFetches = 4
	// PerNeighbour is how many requests one neighbour has outstanding:
	// one in transfer, one behind it, so that the line never waits for us.
	PerNeighbour = 2
	// perNeighbourFast replaces it where a piece takes less than fastPiece,
	// so that round trips do not show.
	perNeighbourFast = 4
	fastPiece        = 20 * time.Millisecond
	// HaveEvery is how long verified pieces may wait to be announced
	// together. Neighbours' knowledge must be fresher than the time that a
	// few pieces take, and 5 ms is that at 10 Gbit/s.
	HaveEvery = 5 * time.Millisecond
	// BusyWait is how long a neighbour that was busy is left alone, and up to
	// twice that.
	BusyWait = 60 * time.Millisecond
)

// MayFetch reports whether a download with so many pieces under way, at a node
// with so many over all, may ask for one more. early is what Pace.Early says.
func MayFetch(download, node, early int) bool {
	return download < minFetches || download < MaxFetches+early && node < NodeFetches+early
}

// MayFetchAhead reports whether a node with so many pieces under way that nobody
// waits for yet, and so many that readers wait for, may ask for one more of the
// former.
func MayFetchAhead(ahead, readers int) bool { return ahead+readers < AheadFetches }

// Depth is how many requests one neighbour may have outstanding, if a piece
// takes so long; 0 if that is not known.
func Depth(pieceTime time.Duration) int {
	if pieceTime > 0 && pieceTime < fastPiece {
		return perNeighbourFast
	}
	return PerNeighbour
}

// CrossTurn is how long the gateway to which a piece falls has to bring it into
// the zone, if a piece takes so long, before the next one may.
func CrossTurn(pieceTime time.Duration) time.Duration { return max(time.Second, 4*pieceTime) }
