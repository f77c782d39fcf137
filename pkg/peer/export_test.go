package peer

// Fetching is how many pieces are under way to p from its neighbours.
func Fetching(p *Peer) int64 { return p.fetching.Load() }
