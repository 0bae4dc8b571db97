package config

import "fmt"

// DidYouMean returns a hint with the nearest of the names, or nothing if none is
// near enough to be a slip.
func DidYouMean(word string, names []string) string {
	if n := nearest(word, names); n != "" {
		return fmt.Sprintf("; did you mean %s?", n)
	}
	return ""
}

// nearest returns the name with the fewest slips to word: at most one for three
// letters, rounded up. The first of equals counts.
func nearest(word string, names []string) (best string) {
	const longest = 64 // bytes: no name is longer, and the work is quadratic
	if len(word) > longest {
		return ""
	}
	least := (len(word)+2)/3 + 1
	for _, n := range names {
		if d := slips(word, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// slips is the number of letters to insert, remove, replace or swap with their
// neighbour to make b of a (optimal string alignment distance).
func slips(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
