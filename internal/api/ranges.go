package api

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Ranges writes half-open runs of pieces, in ascending order, as "0-15,20".
func Ranges(runs iter.Seq2[int, int]) string {
	var b strings.Builder
	for first, end := range runs {
		if first >= end {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(first))
		if end > first+1 {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(end - 1))
		}
	}
	return b.String()
}

// ParseRanges calls each for the half-open runs that s names, which lie within
// 0..n and ascend.
func ParseRanges(s string, n int, each func(first, end int)) error {
	if s == "" {
		return nil
	}
	at := 0
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRun := strings.Cut(part, "-")
		if !isRun {
			to = from
		}
		first, err := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil || first < at || last < first || last >= n {
			return fmt.Errorf("%.40q is no ascending range of %d pieces", part, n)
		}
		each(first, last+1)
		at = last + 1
	}
	return nil
}
