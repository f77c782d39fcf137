package rpc

import "google.golang.org/grpc/metadata"

// What has come to the wire since its first version, and a scheduler of the version
// before would not understand, a peer does only where the scheduler says that it takes it.

// takesKey is the header in which a scheduler says so.
const takesKey = "p2pd-takes"

const (
	takesTable = "rate-table" // a Summary with a table of neighbours
	takesBeat  = "beat"       // a Beat
)

// takes is the header of this version's scheduler.
var takes = metadata.MD{takesKey: {takesTable, takesBeat}}
