package lab

import "time"

// Bound is the least time in which an image of size bytes can reach n nodes
// at once, whatever the protocol: the source must send each byte once
// (size/source), each node must receive all of it (size/down), and all upload
// capacity together must carry n copies. Rates are those of the links, headers
// and all; a rate of 0 is no limit.
func Bound(n int, size Size, source, up, down Rate) time.Duration {
	f := float64(size)
	seconds := max(over(f, source.BytesPerSecond()), over(f, down.BytesPerSecond()))
	if source > 0 && up > 0 {
		copies := float64(n)
		seconds = max(seconds, copies*f/(source.BytesPerSecond()+copies*up.BytesPerSecond()))
	}
	return time.Duration(seconds * float64(time.Second))
}

func over(bytes, rate float64) float64 {
	if rate == 0 {
		return 0
	}
	return bytes / rate
}
