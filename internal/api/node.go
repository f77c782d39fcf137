package api

import "time"

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
	// SchedulerTrouble is why it is not connected, once it has tried.
	SchedulerTrouble string `json:"schedulerTrouble,omitempty"`
	Downloads        int    `json:"downloads"` // running now
	Blobs            int    `json:"blobs"`     // whole in the store
	// CacheBytes is what the store holds, of CacheCapacity.
	CacheBytes    int64 `json:"cacheBytes"`
	CacheCapacity int64 `json:"cacheCapacity"`
	// DiskRoom is how many bytes more the store may write before others have
	// less of its disk than is kept for them; less than 0 if they have less
	// already. Absent where that cannot be told.
	DiskRoom *int64 `json:"diskRoom,omitempty"`
	// NoRoom is how often a blob went past the store since the start, for it could
	// not make room.
	NoRoom int64 `json:"noRoom"`
	// Bytes were received since the start, Sent went to other peers, Served
	// to clients.
	Bytes  Bytes `json:"bytes"`
	Sent   int64 `json:"sent"`
	Served int64 `json:"served"`
	// FalsePieces and FalseBlobs were not what their digest promised.
	FalsePieces int64 `json:"falsePieces"`
	FalseBlobs  int64 `json:"falseBlobs"`
	Usage       Usage `json:"usage"`
}

// Usage is what a process has taken of its machine. It is 0 where that cannot be
// told.
type Usage struct {
	CPUSeconds  float64 `json:"cpuSeconds"`  // since the start
	MemoryBytes int64   `json:"memoryBytes"` // resident now
	// DiskRead and DiskWritten are bytes since the start, as far as they went
	// to a disk and not to a cache of the kernel's.
	DiskRead    int64 `json:"diskReadBytes"`
	DiskWritten int64 `json:"diskWrittenBytes"`
}

// Download is a blob that is arriving at a node.
type Download struct {
	Digest  string    `json:"digest"`
	Size    int64     `json:"size"` // SizeUnknown until it is known
	Pieces  int       `json:"pieces"`
	Have    int       `json:"have"`   // of them
	Ranges  string    `json:"ranges"` // which
	Started time.Time `json:"started"`
	Readers int       `json:"readers"` // clients that read it now
	// Partial: only parts are wanted. Ahead: no client has asked so far.
	Partial    bool        `json:"partial,omitempty"`
	Ahead      bool        `json:"ahead,omitempty"`
	Given      []Given     `json:"given"`      // by whom, those who gave most first
	Neighbours []Neighbour `json:"neighbours"` // the fastest first
	Reads      []Read      `json:"reads"`      // from the origin, under way
}

// DownloadList is what is arriving at a node, the oldest first.
type DownloadList struct {
	Meta
	Items []Download `json:"items"`
}

// Given is how many bytes of a blob one source gave: a peer, "origin", or
// "disk" for what was left of an earlier download.
type Given struct {
	From  string `json:"from"`
	Bytes int64  `json:"bytes"`
}

// Neighbour is a peer that a download takes pieces from.
type Neighbour struct {
	Peer           string `json:"peer"`
	Zone           string `json:"zone"`
	Answered       bool   `json:"answered"` // it has said what it has
	Have           int    `json:"have"`     // pieces
	Requests       int    `json:"requests"` // under way
	BytesPerSecond int64  `json:"bytesPerSecond"`
	// Resting: it was busy or failed, and is asked for nothing for a moment.
	Resting bool `json:"resting,omitempty"`
}

// Read is a read from the origin. Lease is 0 for one on the node's own account.
type Read struct {
	Lease  uint64 `json:"lease"`
	Ranges string `json:"ranges"`
	Whole  bool   `json:"whole"`
	Bytes  int64  `json:"bytes"` // so far
}

// CacheEntry is a blob that a node holds.
type CacheEntry struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Where  string `json:"where"`
	// Whole: all of it is here. InUse: somebody reads or writes it, so that it
	// cannot be removed now. Spare: containerd has it too, so that it is the
	// first to go for room.
	Whole bool `json:"whole"`
	InUse bool `json:"inUse"`
	Spare bool `json:"spare"`
	// LastUsed is right to a minute; absent for what containerd holds.
	LastUsed *time.Time `json:"lastUsed,omitempty"`
}

// Where a CacheEntry is.
const (
	WhereStore      = "store"      // p2pd's own
	WhereContainerd = "containerd" // its content, which p2pd only reads
)

// CacheList is what a node holds, what was used last first.
type CacheList struct {
	Meta
	Items []CacheEntry `json:"items"`
	// StoreBytes is what the store's entries take, of StoreCapacity.
	StoreBytes    int64 `json:"storeBytes"`
	StoreCapacity int64 `json:"storeCapacity"`
}

// VerifyRequest says what to read and check again.
type VerifyRequest struct {
	// Digests are the blobs; none: all whole ones of the store.
	Digests []string `json:"digests,omitempty"`
}

// VerifyResult is what became of it. Blobs of the store that are damaged have
// been removed.
type VerifyResult struct {
	Meta
	Items   []Verdict `json:"items"`
	Bytes   int64     `json:"bytes"` // read
	Damaged int       `json:"damaged"`
}

// Verdict is about one blob.
type Verdict struct {
	Digest  string `json:"digest"`
	Size    int64  `json:"size"`
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"` // what is wrong, and what was done
}

// PruneRequest says what to remove of the store. Nothing that is in use goes.
type PruneRequest struct {
	// UnusedFor is how long a blob must not have been used, such as 24h;
	// empty: however short.
	UnusedFor string `json:"unusedFor,omitempty"`
	// Spare: only what containerd has too. Partial: only what is not whole.
	Spare   bool `json:"spare,omitempty"`
	Partial bool `json:"partial,omitempty"`
	// DryRun only says what would go.
	DryRun bool `json:"dryRun,omitempty"`
}

// PruneResult is what went.
type PruneResult struct {
	Meta
	Items  []CacheEntry `json:"items"`
	Bytes  int64        `json:"bytes"`
	InUse  int          `json:"inUse"` // that stayed for being in use
	DryRun bool         `json:"dryRun"`
}

// Explanation is what happened to a blob, or to a tag, on one node.
type Explanation struct {
	Meta
	// Name is the digest, or HOST/REPOSITORY:TAG.
	Name    string  `json:"name"`
	Entries []Event `json:"entries"` // in the order of time
	// Dropped entries are missing between the first and the last ones.
	Dropped int `json:"dropped"`
	// Given is who gave the bytes of the download that runs, or of the last
	// one that ended.
	Given []Given `json:"given"`
	// Download is the one that runs.
	Download *Download `json:"download,omitempty"`
}

// Event is one thing that happened.
type Event struct {
	At    time.Time `json:"at"`
	Last  time.Time `json:"last"`  // when it happened last
	Times int       `json:"times"` // in a row
	Kind  string    `json:"kind"`
	Text  string    `json:"text"`
}

// ExplanationList is what a node can explain, the latest first.
type ExplanationList struct {
	Meta
	Items []Explained `json:"items"`
}

// Explained is one thing that can be explained, and its last event.
type Explained struct {
	Name string `json:"name"`
	Last Event  `json:"last"`
}
