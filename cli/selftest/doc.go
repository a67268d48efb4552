// Package selftest has a test alone: weir builds weir, from this project's own
// history, by the specs under examples, on a Debian base image. It takes some
// minutes, so it runs only where WEIR_SELFTEST is set: make selftest.
package selftest
