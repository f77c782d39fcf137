// Package web is the admin interface of the scheduler and of p2pd over HTTP: the
// routes, who may use them, and the record of who changed what. What it says is
// in internal/api. It asks a Brain, a Node, or both, and knows neither sockets
// nor where tokens are kept.
//
// Nobody gets an answer without a Guard's word, not even that a path does not
// exist; but for the files of the live page, below /ui/, which tell nothing.
//
// Start reading at New, then routes.go.
package web
