package daemon

import (
	"github.com/prometheus/procfs"

	"github.com/p2pd/p2pd/internal/api"
)

// usage is what this process has taken of its machine, as far as /proc tells:
// other systems than Linux have none, and there it is zero.
func usage() (u api.Usage) {
	self, err := procfs.Self()
	if err != nil {
		return u
	}
	if s, err := self.Stat(); err == nil {
		u.CPUSeconds, u.MemoryBytes = s.CPUTime(), int64(s.ResidentMemory())
	}
	if io, err := self.IO(); err == nil {
		u.DiskRead, u.DiskWritten = int64(io.ReadBytes), int64(io.WriteBytes)
	}
	return u
}
