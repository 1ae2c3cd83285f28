package config

import "strings"

// Nearest returns the one of the words that was probably meant by a mistyped
// one, or nothing when none is close.
func Nearest(typed string, words []string) string {
	best, nearest := 1+max(1, min(len(typed)/3, 3)), ""
	for _, w := range words {
		if d := distance(strings.ToLower(typed), w, best); d < best {
			best, nearest = d, w
		}
	}
	return nearest
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a (optimal string alignment), or limit when it
// is at least that.
func distance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}

// orList joins words: "a", "a or b", "a, b or c".
func orList(words []string) string { return list(words, " or ") }

// andList joins words: "a", "a and b", "a, b and c".
func andList(words []string) string { return list(words, " and ") }

func list(words []string, conjunction string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + conjunction + words[last]
}
