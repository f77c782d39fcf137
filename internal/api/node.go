package api

// NodeStatus is a p2pd in short.
type NodeStatus struct {
	ID        string   `json:"id"`
	Addresses []string `json:"addresses"`
	Bulk      string   `json:"bulk"`
	Zone      string   `json:"zone"`
	Rack      string   `json:"rack"`
	Mirror    string   `json:"mirror"` // where containerd asks
	// Scheduler is where it should be; empty: none is configured.
	Scheduler string `json:"scheduler"`
	Connected bool   `json:"connected"` // to it
	Downloads int    `json:"downloads"` // running now
	Blobs     int    `json:"blobs"`     // whole in the store
	// CacheBytes is what the store holds, of CacheCapacity.
	CacheBytes    int64 `json:"cacheBytes"`
	CacheCapacity int64 `json:"cacheCapacity"`
	// Bytes were received since the start, Sent went to other peers, Served
	// to clients.
	Bytes  Bytes `json:"bytes"`
	Sent   int64 `json:"sent"`
	Served int64 `json:"served"`
	// FalsePieces and FalseBlobs were not what their digest promised.
	FalsePieces int64 `json:"falsePieces"`
	FalseBlobs  int64 `json:"falseBlobs"`
}
