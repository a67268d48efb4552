// Package lead is the work of the node in office: it serves the workers'
// sessions, proposes the grants that package plan decides, gives up the leases of
// workers that fall silent, ends back-offs, and trims what retention allows.
//
// It promises that a lease is given up only after its worker was silent for the
// pool's time to live by this node's monotonic clock, counted anew from an
// election, and not because this node itself was deaf; that a worker's finished
// attempts are acknowledged with what the cluster has recorded; that one name of
// a pool has one session; and that nothing of a term is left when Run returns.
//
// It stores nothing: all that it holds in memory is rebuilt from the replicated
// state at an election, and from what workers say when they come back. It does
// not decide who may call it, and does not touch log bytes.
package lead
