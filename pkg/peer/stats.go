package peer

import "sync/atomic"

// Stats are totals since the start, but for the gauges.
type Stats struct {
	ReceivedPeer   int64 // bytes of verified pieces from neighbours
	ReceivedFar    int64 // of ReceivedPeer, from neighbours in other zones
	ReceivedOrigin int64 // bytes of pieces read from the origin
	Uploaded       int64 // bytes sent to children
	ServedStore    int64 // bytes to clients of blobs that were whole at once
	ServedDownload int64 // bytes to clients while the blob arrived
	Relayed        int64 // bytes from the origin to clients past a store without room
	Resumed        int64 // bytes found on disk when a download began again

	PiecesPeer   int64
	PiecesOrigin int64
	Hedges       int64 // pieces asked of a second neighbour
	Busy         int64 // refusals for want of an upload slot
	Deadlines    int64 // pieces that missed their deadline
	FalsePieces  int64 // pieces that were not what the neighbour claimed
	FalseBlobs   int64 // blobs whose pieces did not add up to the digest
	Bans         int64 // peers shunned for false bytes
	SelfLeases   int64 // reads from the origin without the scheduler's word

	AheadBytes   int64 // of ReceivedPeer, before anybody had asked for the blob
	AheadWhole   int64 // downloads ahead that ended whole before a reader came
	AheadTaken   int64 // to which a reader came
	AheadGivenUp int64 // to which nobody came, or that failed

	Announced int64 // keys told to the directory, blobs and images
	Found     int64 // peers that the directory named to downloads
	Images    int   // gauge: images that are announced

	LeasesDone   int64
	LeasesFailed int64

	Completed int64 // downloads that ended whole
	Failed    int64 // downloads that did not
	Downloads int   // gauge: running now
	Relays    int64 // gauge: transfers past the store running now
	Leases    int64 // gauge: origin reads running now
	Attached  bool  // gauge: a scheduler's stream is up
}

type counters struct {
	receivedNear, receivedFar, receivedOrigin         atomic.Int64
	uploaded                                          atomic.Int64
	servedStore, servedDownload, resumed              atomic.Int64
	piecesPeer, piecesOrigin, hedges, busy, deadlines atomic.Int64
	falsePieces, falseBlobs, selfLeases               atomic.Int64
	leasesDone, leasesFailed, leases                  atomic.Int64
	completed, failed                                 atomic.Int64
	announced, found                                  atomic.Int64
	relayed, relays                                   atomic.Int64
	aheadBytes, aheadWhole, aheadTaken, aheadGivenUp  atomic.Int64
}

// Stats returns a copy of the counters.
func (p *Peer) Stats() Stats {
	c := &p.stats
	p.mu.Lock()
	downloads, attached := len(p.downloads), p.sched != nil
	p.mu.Unlock()
	near, far := c.receivedNear.Load(), c.receivedFar.Load()
	return Stats{
		ReceivedPeer: near + far, ReceivedFar: far,
		ReceivedOrigin: c.receivedOrigin.Load(),
		Uploaded:       c.uploaded.Load(), ServedStore: c.servedStore.Load(),
		ServedDownload: c.servedDownload.Load(), Resumed: c.resumed.Load(),
		PiecesPeer: c.piecesPeer.Load(), PiecesOrigin: c.piecesOrigin.Load(),
		Hedges: c.hedges.Load(), Busy: c.busy.Load(), Deadlines: c.deadlines.Load(),
		FalsePieces: c.falsePieces.Load(), FalseBlobs: c.falseBlobs.Load(), Bans: p.bans.count(),
		SelfLeases: c.selfLeases.Load(), LeasesDone: c.leasesDone.Load(),
		LeasesFailed: c.leasesFailed.Load(), Leases: c.leases.Load(),
		Completed: c.completed.Load(), Failed: c.failed.Load(),
		AheadBytes: c.aheadBytes.Load(), AheadWhole: c.aheadWhole.Load(),
		AheadTaken: c.aheadTaken.Load(), AheadGivenUp: c.aheadGivenUp.Load(),
		Announced: c.announced.Load(), Found: c.found.Load(), Images: p.images.count(),
		Relayed: c.relayed.Load(), Relays: c.relays.Load(),
		Downloads: downloads, Attached: attached,
	}
}
