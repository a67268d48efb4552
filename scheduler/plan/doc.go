// Package plan decides which worker of a pool runs which queued job.
//
// It promises the same decisions for the same sequence of calls, in the order
// of the backlog: urgent jobs first, then by fair start time, then by id; to the
// worker that has the job's cache hint when that does not make it wait for more
// than a build without the cache would cost; otherwise to the worker that has
// waited longest. A decision costs a logarithm of the queue and of the workers,
// whatever other jobs wait that no worker fits.
//
// Where a pool's idle workers steal, a job is left to its cache's worker only as
// long as the wait is worth it: first by what the builds there are expected to
// take, later by what they did. And urgent jobs go before those reserved.
//
// It is pure: it has no clock, no lock, no goroutine and no I/O, and it stores
// nothing that the replicated state does not have. A decision is a proposal that
// the state checks again.
package plan
