// Package client is the Go client of a weir cluster.
//
// It promises to use every address of a capability, to follow the cluster
// through leader changes in the middle of a wait or a log without losing or
// repeating a byte, and to repeat a submit only under the same request key, so
// that a retry never makes a second job. It keeps no state on disk, prints
// nothing, and refuses to guess: an outcome that it cannot know is an error
// that says so.
package client
