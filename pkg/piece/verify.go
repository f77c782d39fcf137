package piece

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// MismatchError says that content is not what its digest promises.
type MismatchError struct{ Want, Got Digest }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("content is %s, want %s", e.Got, e.Want)
}

// Verify wraps r so that it ends with io.EOF only after exactly size bytes
// whose digest is want. Fewer bytes end with io.ErrUnexpectedEOF, other
// bytes with a *MismatchError; bytes past size are never read.
// A zero want asks for the length alone. The reader owns nothing: closing r
// stays with the caller.
func Verify(r io.Reader, size int64, want Digest) *VerifyingReader {
	return &VerifyingReader{r: r, left: size, want: want, hash: sha256.New()}
}

// VerifyingReader is made by Verify.
type VerifyingReader struct {
	r    io.Reader
	left int64
	want Digest
	got  Digest
	hash hash.Hash
	done error
}

// Read implements io.Reader.
func (v *VerifyingReader) Read(p []byte) (int, error) {
	if v.done != nil {
		return 0, v.done
	}
	if v.left == 0 {
		v.done = v.finish()
		return 0, v.done
	}
	n, err := v.r.Read(p[:min(int64(len(p)), v.left)])
	v.hash.Write(p[:n])
	v.left -= int64(n)
	switch {
	case v.left == 0:
		v.done = v.finish()
	case err == io.EOF:
		v.done = io.ErrUnexpectedEOF
	case err != nil:
		v.done = err
	}
	return n, v.done
}

func (v *VerifyingReader) finish() error {
	v.hash.Sum(v.got[:0])
	if !v.want.IsZero() && v.got != v.want {
		return &MismatchError{Want: v.want, Got: v.got}
	}
	return io.EOF
}

// Sum is the digest of all bytes; valid once Read has returned io.EOF or a
// *MismatchError.
func (v *VerifyingReader) Sum() Digest { return v.got }
