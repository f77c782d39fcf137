// Package mirror is the read-only OCI distribution face that containerd pulls
// through on localhost: GET and HEAD of manifests and blobs under /v2/.
//
// It decides what is answered and when: which requests are well formed, which
// registry they mean, and how a failure must look so that containerd goes on
// to its next host instead of failing the pull. Four rules follow from what
// containerd does and hold everywhere here:
//
//   - Headers are sent only once the first byte of the body can be read; a
//     200 that is followed by nothing fails a pull. (The later chunks of a
//     parallel fetch are the one exception, see chunks.)
//   - Headers or a failure come within 2 s, unless there is evidence that
//     bytes are on their way (see patience).
//   - A failure before that is a 4xx or 5xx with an OCI error body, never 408
//     or 429, which containerd repeats at once at the same host.
//   - A failure after that aborts the connection short of Content-Length,
//     which containerd resumes with Range, at another host if need be.
//
// It does not know where bytes come from: Blobs opens content by digest, and
// whatever it hands out has been verified. It does not speak to registries:
// Registries does. It keeps no content, and only remembers the sizes that
// manifests promised.
//
// Start reading at Mirror.ServeHTTP, then blob.go.
package mirror
