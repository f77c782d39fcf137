package transport

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Whoever watches fetches is told once how one ended: well, or by the first
// error of its body.
func TestAFetchSaysHowItEnded(t *testing.T) {
	cut, later := errors.New("cut midway"), errors.New("later")
	for _, tt := range []struct {
		name string
		body io.Reader
		want error
	}{
		{"whole", strings.NewReader("bytes"), nil},
		{"cut", io.MultiReader(strings.NewReader("by"), iotest.ErrReader(cut)), cut},
		{"nothing comes", io.MultiReader(iotest.ErrReader(cut), iotest.ErrReader(later)), cut},
		{"ends early", iotest.ErrReader(io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ended []error
			f := &fetched{r: tt.body, body: io.NopCloser(tt.body), end: func(err error) { ended = append(ended, err) }, count: new(counters)}
			for range 2 {
				_, _ = io.ReadAll(f)
			}
			for range 2 {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if len(ended) != 1 || !errors.Is(ended[0], tt.want) {
				t.Errorf("told %v, want %v once", ended, tt.want)
			}
		})
	}
}
