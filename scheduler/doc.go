// Package scheduler is the service on a node: it puts the replicated state, the
// leader's work, the build logs and the gRPC services together, and runs them
// from start to stop.
//
// It promises to refuse to start with a sentence that says what to change, to
// be reachable by the other nodes before it asks them anything, to hand office
// over before it stops, and to stop what it started in reverse order. It
// refuses to hold any rule: fsm decides what a command does, lead who runs
// what, auth who may.
package scheduler
