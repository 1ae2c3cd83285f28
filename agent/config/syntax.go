package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// syntax reports a file that is not TOML.
func (r *report) syntax(err error) {
	f := found{text: notTOML}
	if e, ok := errors.AsType[toml.ParseError](err); ok {
		lines := strings.Split(string(r.data), "\n")
		// From the offset, as Position.Line can be one too low at the end of a file.
		at := markLength(r.data) + max(e.Position.Start, 0)
		f.line = 1 + bytes.Count(r.data[:min(at, len(r.data))], []byte("\n"))
		if says(e, `unexpected EOF; expected '"""'`, `unexpected EOF; expected "'''"`) {
			// It took in the rest of the file, so that its key is the last.
			f.line = slices.Max(append(slices.Collect(maps.Values(r.keys)), 1))
		}
		f.text = inWords(e, strings.TrimSpace(lines[f.line-1]))
		f.excerpt = safeExcerpt(lines, f.line)
		if twice, ok := strings.CutPrefix(e.Message, "Key '"); ok {
			f.path, _, _ = strings.Cut(twice, "' ")
		}
	}
	r.problems = append(r.problems, f)
}

const notTOML = "this can't be understood, write a [table] or key = value"

// says reports whether the message of the library starts like one of these.
func says(e toml.ParseError, starts ...string) bool {
	return slices.ContainsFunc(starts, func(s string) bool { return strings.HasPrefix(e.Message, s) })
}

// inWords says what is wrong with a line for people who don't know TOML. The
// words of the library are not for them, and often quote the value, which may
// be a secret.
func inWords(e toml.ParseError, line string) string {
	_, value, _ := strings.Cut(line, "=")
	value = strings.TrimSpace(value)
	isHeader := strings.HasPrefix(line, "[")
	switch {
	case says(e, "strings cannot contain newlines", `unexpected EOF; expected '"'`, `unexpected EOF; expected "'"`):
		return "the closing quote is missing"
	case says(e, `unexpected EOF; expected '"""'`, `unexpected EOF; expected "'''"`):
		return "the three closing quotes are missing"
	case says(e, `unexpected '""""""'`, `unexpected "''''''"`):
		return "there are too many quotes"
	case says(e, "invalid escape", "Escaped character", "expected two hex", "expected four hex", "expected eight hex"):
		return `what follows the \ is unknown; put the text in single quotes to take it as it is`

	case says(e, "Key '") && isHeader:
		return "this table is there already; what there can be several of has double brackets each time, like [[camera]]"
	case says(e, "Key '"):
		return "this key is there already, keep one of the two"
	case isHeader && says(e, "unexpected end of table", "unexpected table sep", "expected '.' or ']'", "expected end of table"):
		return "this is not the name of a table, write it like [viewer] or [[camera]]"
	case says(e, "expected a top-level item to end") && isHeader:
		return "what follows the name of a table has to be on the next line"
	case says(e, "expected '.' or '='", "unexpected '='", "unexpected '.'", "unexpected EOF; expected key"):
		return "this is not a key with a value, write: key = value"

	case says(e, `expected value but found '“'`, `expected value but found '”'`, `expected value but found '„'`,
		`expected value but found '‘'`, `expected value but found '’'`, "expected value but found '`'"):
		return `these are not straight quotes, write "`
	case says(e, "unexpected EOF; expected value", `expected value but found '\n'`, `expected value but found '\r'`, "expected value but found '#'",
		"expected value but found ','", "expected value but found '}'", "expected value but found ']'"):
		return "the value is missing, write: key = value"
	case says(e, "expected a top-level item to end") && strings.HasPrefix(value, `"`):
		return `something follows the closing quote; a quote in the text is written \"`
	case says(e, "expected a top-level item to end") && strings.HasPrefix(value, "'"):
		return "something follows the closing quote; text with a ' in it has to be in double quotes"
	case strings.HasSuffix(e.Message, "cannot have leading zeroes"):
		return "a number can't begin with 0"
	case strings.Contains(e.Message, "is out of range for"):
		return "the number is too large"
	case says(e, "expected a top-level item to end", "expected value", "Invalid integer", "Invalid float", "invalid float", "invalid datetime",
		"floats must start", "expected a digit", "cannot use sign", "not a "):
		return `what is not a whole number or a list has to be in quotes, like "5s"`

	case says(e, "expected a comma (',') or array"):
		return "a comma or the closing ] is missing"
	case says(e, "expected a comma or an inline table"):
		return "a comma or the closing } is missing"
	case says(e, "unexpected comma"):
		return "there is a comma too many"
	case says(e, "TOML files cannot contain control characters"):
		return "there is an invisible control character in this line, write the line again"
	case says(e, "invalid UTF-8", "files cannot contain NULL"):
		return "this is not plain text, save the file as UTF-8"
	}
	return notTOML
}

var secretWords = regexp.MustCompile(`(?i)pass|token|secret|credential`)

// safeExcerpt returns a line of a file that could not be parsed, if it can't
// be part of a secret: a table header, or a known key with its value.
func safeExcerpt(lines []string, line int) string {
	before := strings.Join(lines[:line-1], "\n")
	text := strings.TrimSpace(lines[line-1])
	key, _, isValue := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	known := len(tablesWith(reflect.TypeFor[Config](), leaf(key))) > 0
	switch {
	case secretWords.MatchString(text), strings.Contains(before, `"""`), strings.Contains(before, "'''"):
		return ""
	case isValue && known, strings.HasPrefix(text, "["):
		return fmt.Sprintf("%.70s", text)
	}
	return ""
}
