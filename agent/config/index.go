package config

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/BurntSushi/toml"
)

// maxPath bounds the path of a key in bytes, and with it how deep tables and
// lists can be nested. Ours need a quarter of it.
const maxPath = 256

// indexKeys returns the line, from 1, of every key of a TOML document, by its
// path: "viewer.listen", "camera[1].fps". The elements of arrays, also of
// arrays of tables, are counted from 0. tooLong is the line of the first path
// longer than maxPath, or 0.
//
// The TOML library tells what a document holds, but not where. So this reads
// the document once more, and only so far as needed to tell keys from values.
// That it is TOML, the library decides; of what is not, the index ends at some
// key.
func indexKeys(doc []byte) (lines map[string]int, tooLong int) {
	s := scanner{rest: string(doc), line: 1, lines: make(map[string]int), tables: make(map[string]int)}
	s.read(markLength(doc))
	table := ""
	for s.gap(); s.rest != ""; s.gap() {
		switch {
		case s.take("[["):
			table = s.key("", true)
			s.expect("]]")
		case s.take("["):
			table = s.key("", false)
			s.expect("]")
		default:
			s.keyValue(table)
		}
	}
	return s.lines, s.tooLong
}

// markLength returns the length of the byte order mark at the start of a
// document, which the library does not count.
func markLength(doc []byte) int {
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(string(doc[:min(len(doc), 3)]), mark) {
			return len(mark)
		}
	}
	return 0
}

// scanner reads a TOML document from start to end and never back. What it does
// not understand makes it stop: then nothing is left to read, which ends all of
// its loops.
type scanner struct {
	rest    string // what is not read yet
	line    int    // where rest begins, from 1
	lines   map[string]int
	tables  map[string]int // number of [[tables]] seen, by path
	tooLong int
}

func (s *scanner) stop() { s.rest = "" }

// read returns the next n bytes.
func (s *scanner) read(n int) string {
	text := s.rest[:n]
	s.line += strings.Count(text, "\n")
	s.rest = s.rest[n:]
	return text
}

// span returns how many of the next bytes are in set.
func (s *scanner) span(set string) int { return len(s.rest) - len(strings.TrimLeft(s.rest, set)) }

// until returns how many bytes come before the first of set, or the end.
func (s *scanner) until(set string) int {
	if n := strings.IndexAny(s.rest, set); n >= 0 {
		return n
	}
	return len(s.rest)
}

// take reads the token if it is next.
func (s *scanner) take(token string) bool {
	next := strings.HasPrefix(s.rest, token)
	if next {
		s.read(len(token))
	}
	return next
}

// expect stops if the token is not next.
func (s *scanner) expect(token string) {
	if !s.take(token) {
		s.stop()
	}
}

// blanks reads what may stand inside of a line.
func (s *scanner) blanks() { s.read(s.span(" \t")) }

// gap reads blanks, line breaks and comments.
func (s *scanner) gap() {
	for s.read(s.span(" \t\r\n")); strings.HasPrefix(s.rest, "#"); s.read(s.span(" \t\r\n")) {
		s.read(s.until("\n"))
	}
}

// keyValue reads key = value, of the table at path.
func (s *scanner) keyValue(table string) {
	path := s.key(table, false)
	s.blanks()
	s.expect("=")
	s.blanks()
	s.value(path)
}

// key reads a key, a.b."c", and returns its path below the table. The last
// part of the key of an array of tables begins a new element of it.
func (s *scanner) key(path string, newElement bool) string {
	for last := false; !last; {
		s.blanks()
		path = join(path, s.keyPart())
		s.blanks()
		last = !s.take(".")
		s.note(path)
		if last && newElement {
			s.tables[path]++
		}
		if n := s.tables[path]; n > 0 {
			path = element(path, n-1)
			s.note(path)
		}
	}
	return path
}

// keyPart reads one part of a key, bare or in quotes.
func (s *scanner) keyPart() string {
	if s.rest == "" || s.rest[0] != '"' && s.rest[0] != '\'' {
		n := s.span("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
		if n == 0 {
			s.stop()
		}
		return s.read(n)
	}
	quoted := s.read(stringLength(s.rest))
	if quoted[0] == '"' && strings.Contains(quoted, `\`) {
		var v struct{ Key string } // the library knows all the escapes
		if toml.Unmarshal([]byte("Key="+quoted), &v) != nil {
			s.stop()
		}
		return v.Key
	}
	return strings.Trim(quoted, quoted[:1])
}

// value reads a value and notes the keys and elements in it.
func (s *scanner) value(path string) {
	switch {
	case s.take("["):
		s.list("]", func(i int) {
			item := element(path, i)
			s.note(item)
			s.value(item)
		})
	case s.take("{"):
		s.list("}", func(int) { s.keyValue(path) })
	case strings.HasPrefix(s.rest, `"`), strings.HasPrefix(s.rest, "'"):
		s.read(stringLength(s.rest))
	default: // a number, date or word
		s.read(s.until(",]}#\n"))
	}
}

// list reads what stands between brackets, with commas between and maybe
// behind.
func (s *scanner) list(closing string, item func(i int)) {
	for i := 0; ; i++ {
		if s.gap(); s.take(closing) {
			return
		}
		item(i)
		if s.gap(); !s.take(",") {
			s.expect(closing)
			return
		}
	}
}

// note keeps the first line of a path.
func (s *scanner) note(path string) {
	if len(path) > maxPath {
		s.tooLong = s.line
		s.stop()
	} else if _, ok := s.lines[path]; !ok {
		s.lines[path] = s.line
	}
}

// stringLength returns the length of the string that text begins with, with its
// quotes; all of text when it does not end.
func stringLength(text string) int {
	quote := text[:1]
	closing := quote
	if strings.HasPrefix(text, quote+quote+quote) {
		closing = quote + quote + quote
	}
	for i := len(closing); i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == `"`:
			i++ // escapes what follows
		case strings.HasPrefix(text[i:], closing):
			i += len(closing)
			for len(closing) == 3 && strings.HasPrefix(text[i:], quote) {
				i++ // """a"""" ends with a quote of its own
			}
			return i
		}
	}
	return len(text)
}

// join returns the path of a key in the table at path. What would be read as
// more than one key is quoted.
func join(path, key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return strings.ContainsRune(`."[]`, r) || !unicode.IsPrint(r) }) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
