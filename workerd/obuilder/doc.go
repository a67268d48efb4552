// Package obuilder builds OBuilder specs: each step makes a file tree from the
// one before, in a sandbox, and is kept under an id made of all that it depends on.
//
// It promises that a step whose id is known is not run again and replays its
// log; that a step which several builds ask for at once runs once, and ends when
// the last of them leaves; that a failed or interrupted step leaves nothing; and
// that an id is printed but never tells a secret. It refuses to know where trees
// are stored, how commands are contained and where images come from: those are the
// three interfaces here.
package obuilder
