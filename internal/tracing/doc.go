// Package tracing makes one trace of a pull: the requests of the client, what
// was asked about its rights, the downloads that began for it with what the
// scheduler decided of them, reads from the registry, and pieces from peers,
// who have their own part of it. Spans go where OpenTelemetry's environment
// variables say. It is off unless an operator turns it on; a nil Tracer does
// nothing, and costs nothing.
//
// Spans say digests, sizes, registries, repositories, tags and peers. They never
// say URLs, headers or what errors say, in which secrets could be.
//
// It knows neither HTTP nor the engine. The engine's downloads it hears of by the
// journal, whose events they have already.
//
// Start reading at Tracer.Request; download.go is what a request leads to.
package tracing
