// Package session is the worker's side of the session with the cluster: it finds
// the leader over any of the known addresses, or a follower that relays where the
// leader is out of reach, says what its [Host] runs, hears what it should run,
// and does so again after every loss.
//
// It promises never to end a job: a lost stream, a dead node, a wrong certificate
// and a cluster without a leader are all ridden out, and a result is sent until it
// is acknowledged. It gives up only when every node says that this worker can
// never be let in. It refuses to know how jobs run or where results are kept; it
// holds two goroutines while connected and none for each job.
package session
