package lab

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// TouchMemory has the kernel hold size bytes of free memory that was used just
// now. On a virtual machine whose host backs memory on its first use and takes
// back what is free, a page that nobody has used for seconds costs more than
// all that is done with it; what is measured right after this does not pay for
// that.
func TouchMemory(size Size) error {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("touch %v of memory: %w", size, err)
	}
	return unix.Munmap(b)
}
