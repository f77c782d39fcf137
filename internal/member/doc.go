// Package member is who belongs to a cluster: the cluster's key, the tokens
// that let a node join, and the credentials by which peers know each other
// without asking anybody.
//
// The schedulers hold one Ed25519 key, the cluster's. Its public half is the
// cluster's name and pin. A node joins with a Token (or with what its
// platform vouches for) and receives a Credential, which binds its peer ID
// until a time and is signed by the cluster's key. Authority is a scheduler's
// side of it, Pass a node's.
//
// The package knows no network: peer IDs are text that others have proven, and
// what platforms vouch for is asked through a function.
//
// Start reading at Authority.Enrol and Pass.Check.
package member
