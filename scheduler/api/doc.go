// Package api is what a node serves over gRPC: jobs to clients, the set-up of
// the cluster to operators, and the streams of workers.
//
// It promises that any node answers any call (a node that does not lead passes
// it on, a worker it sends to the leader), that a write is acknowledged only
// once a majority has it on disk, that every error carries a reason that
// programs can act on, and that without a leader an answer comes within five
// seconds and says what this node knows.
//
// It refuses to decide: what a command does is the replicated state's business,
// who runs a job the leader's, who may call a method auth's. It keeps nothing
// that a restart would lose.
package api
