package spec

import (
	"strings"
	"unicode/utf8"
)

// maxDistance is how many letters may differ in what counts as a slip.
const maxDistance = 3

// nearest finds the known word that is most like word, if any is.
func nearest(word string, known []string) (string, bool) {
	best, found := maxDistance+1, ""
	for _, k := range known {
		longest := max(utf8.RuneCountInString(word), utf8.RuneCountInString(k))
		if longest > 100 {
			continue // nobody mistypes that
		}
		if d := distance([]rune(strings.ToLower(word)), []rune(strings.ToLower(k))); d < best && d < longest {
			best, found = d, k
		}
	}
	return found, found != ""
}

// distance counts the letters to insert, drop, replace or swap with their
// neighbour to make b of a.
func distance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		now := make([]int, len(b)+1)
		now[0] = i + 1
		for j := range b {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			now[j+1] = min(last[j]+change, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last = last, now
	}
	return last[len(b)]
}
