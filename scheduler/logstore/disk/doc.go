// Package disk is the log store of a node on its own disk.
//
// Logs share append-only segment files, so that thousands of small logs a
// second cost one write each and one fsync together. It promises what
// [logstore.Store] promises, keeps about 100 bytes of memory for a small log,
// opens quickly however much is stored, and removes the oldest sealed logs when
// its byte budget is used up.
//
// It serves one process at a time (it locks its directory) and never removes a
// log that is not sealed.
package disk
