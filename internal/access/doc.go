// Package access decides which client of the mirror may have which content.
// The bytes that a node or its peers hold give nobody a right: only the
// origin's own answer to the client's own credential does, and what follows
// from it within a few minutes.
//
// A repository that the origin shows to anybody is public: its clients are
// not challenged. For any other the origin's own challenge is passed on, so
// that containerd fetches a token for that one repository and sends it here;
// one question to the origin with that token proves the right to a manifest,
// and with it to all that the manifest lists.
//
// Table is the whole of the deciding: a value without clock, lock or socket,
// told the time and the origin's answers. Gate is the shell around it: it
// reads the clock, asks the origin, one question for all who wait for its
// answer, and hands out Grants. Credentials are never kept: the Table knows
// them by an HMAC under a key that dies with the process.
//
// The package does not know how registries are asked (needs.go), what a
// client's answer looks like, or where content comes from.
//
// Start reading at Table.Decide.
package access
