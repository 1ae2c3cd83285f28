package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	File    string
	Line    int    // from 1; 0 when it is about no line in particular
	Key     string // such as "viewer.listen", may be empty
	Text    string // what is wrong and what to write instead
	Excerpt string // the line, where seeing it helps; never holds a secret
}

// String returns "FILE:LINE: KEY: TEXT", and the excerpt on a second line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Excerpt != "" {
		b.WriteString("\n    " + p.Excerpt)
	}
	return b.String()
}

// Problems is all that is wrong with a file, sorted by line. It is an error.
type Problems []Problem

// Error returns all problems, each on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// report gathers what is wrong with one file.
type report struct {
	file     string
	data     []byte
	open     bool // others than its owner may read it
	checks   Checks
	keys     map[string]int // the line of each key by its path
	readable bool           // the file is TOML

	problems, warnings []found
}

// found is a problem before its position is known.
type found struct {
	path, text string
	line       int
	excerpt    string
}

// problem reports what is wrong with the key at path, such as "camera[1].fps".
// The position of a key that the file doesn't have is that of its table.
func (r *report) problem(path, format string, args ...any) {
	r.problems = append(r.problems, found{path: path, text: fmt.Sprintf(format, args...)})
}

// warning reports what is allowed but unwise.
func (r *report) warning(path, format string, args ...any) {
	r.warnings = append(r.warnings, found{path: path, text: fmt.Sprintf(format, args...)})
}

// has reports whether the file has the key.
func (r *report) has(path string) bool {
	_, ok := r.keys[path]
	return ok
}

// wrong reports whether there is a problem with the key already.
func (r *report) wrong(path string) bool {
	return slices.ContainsFunc(r.problems, func(f found) bool { return f.path == path })
}

// wrongBelow reports whether there is a problem with the table at path, or with
// one of its keys.
func (r *report) wrongBelow(path string) bool {
	return slices.ContainsFunc(r.problems, func(f found) bool {
		rest, ok := strings.CutPrefix(f.path, path)
		return ok && (rest == "" || rest[0] == '.')
	})
}

// sorted gives each problem its line and sorts by it.
func (r *report) sorted(all []found) Problems {
	ps := make(Problems, 0, len(all))
	for _, f := range all {
		line := f.line
		if line == 0 {
			line = r.line(f.path)
		}
		ps = append(ps, Problem{File: r.file, Line: line, Key: plainPath(f.path), Text: f.text, Excerpt: f.excerpt})
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
	return ps
}

// line returns the line of the key, or else of its nearest table, or 0.
func (r *report) line(path string) int {
	for path != "" {
		if line, ok := r.keys[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// plainPath drops the indices, which people don't count: "camera[1].fps" is
// "camera.fps" on some line.
func plainPath(path string) string {
	var b strings.Builder
	for path != "" {
		head, rest, _ := strings.Cut(path, "[")
		b.WriteString(head)
		_, path, _ = strings.Cut(rest, "]")
	}
	return b.String()
}
