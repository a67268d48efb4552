// Package workerd is the worker daemon: it keeps a session with the cluster, runs
// the attempts it is granted, each at most once, and delivers their results and
// logs, across restarts of its own.
//
// It promises that a lease's number is on its disk before a process starts, that
// a number is never started twice, that a result is on its disk before it is sent
// and is sent until acknowledged, that a loss of the cluster ends no job, and that
// a job whose lease is over is killed and its result dropped. It refuses to decide
// what runs where, and to know how any kind of job runs: executors are given.
package workerd
