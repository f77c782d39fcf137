package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// preallocate gives f its length and, where the file system can, its blocks:
// a full disk is met here and not in the middle of a download.
func preallocate(f *os.File, size int64) error {
	if size > 0 {
		err := control(f, func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			return err
		}
	}
	return f.Truncate(size)
}

// startWriteback tells the kernel to begin writing a range out, and waits for
// nothing. Otherwise a whole layer of dirty pages piles up, and the sync at
// commit stalls everybody on the disk. It is a hint; errors mean no more.
func startWriteback(f *os.File, off, n int64) {
	_ = control(f, func(fd int) error {
		return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// diskBytes is how much an ordinary user may still write to the file system
// that f is on, and how large it is.
func diskBytes(f *os.File) (free, all int64, err error) {
	var st unix.Statfs_t
	err = control(f, func(fd int) error { return unix.Fstatfs(fd, &st) })
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, err
}

// control runs call on the descriptor of f, again if a signal interrupts it.
func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = call(int(fd)); !errors.Is(result, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, result)
}
