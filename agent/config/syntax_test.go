package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSyntax makes the mistakes that people make, with the sentence that they
// get. None may show the library's words, which quote the value.
func TestSyntax(t *testing.T) {
	const (
		quotes = `what is not a whole number or a list has to be in quotes, like "5s"`
		value  = "the value is missing, write: key = value"
		key    = "this is not a key with a value, write: key = value"
		table  = "this is not the name of a table, write it like [viewer] or [[camera]]"
		escape = `what follows the \ is unknown; put the text in single quotes to take it as it is`
		twice  = "this key is there already, keep one of the two"
		again  = "x: this table is there already; what there can be several of has double brackets each time, like [[camera]]"
	)
	for bad, want := range map[string]string{
		`x = "hunter2`:            "the closing quote is missing",
		"x = \"hunter2\n":         "the closing quote is missing",
		`x = 'hunter2`:            "the closing quote is missing",
		"x = \"\"\"hunter2\n\n":   "the three closing quotes are missing",
		"x = '''hunter2\n\n":      "the three closing quotes are missing",
		`x = """hunter2""""""`:    "there are too many quotes",
		`x = '''hunter2''''''`:    "there are too many quotes",
		`x = "hunter2"y"`:         `something follows the closing quote; a quote in the text is written \"`,
		`x = 'hunter2'y'`:         "something follows the closing quote; text with a ' in it has to be in double quotes",
		`x = “hunter2”`:           `these are not straight quotes, write "`,
		`x = "hunter2\w"`:         escape,
		`x = "hunter2\u12"`:       escape,
		`x = "hunter2\ud800"`:     escape,
		"x = hunter2":             quotes,
		"x = :8080":               quotes,
		"x = 192.0.2.1:80":        quotes,
		"x = 192.0.2.1":           quotes,
		"x = 5s":                  quotes,
		"x = 1920x1080":           quotes,
		"x = 2026-13-01":          quotes,
		"x = -":                   quotes,
		"x = -0x5":                quotes,
		"x = 0xhunter2":           quotes,
		"x = .5":                  quotes,
		"x = 5_":                  quotes,
		"x = 1._5":                quotes,
		"x = [hunter2]":           quotes,
		"x = 030":                 "a number can't begin with 0",
		"x = 9999999999999999999": "the number is too large",
		"x = 1e999":               "the number is too large",
		"x =":                     value,
		"x =\r\ny = 1":            value,
		"x = # hunter2":           value,
		"x = {y = }":              value,
		"hunter2":                 key,
		"x : hunter2":             key,
		"ice servers = []":        key,
		"= hunter2":               key,
		".x = 1":                  key,
		"x. = 1":                  key,
		"[x":                      table,
		"[]":                      table,
		"[.x]":                    table,
		"[[x]":                    table,
		"[x] y = 1":               "what follows the name of a table has to be on the next line",
		"x = [1 2]":               "a comma or the closing ] is missing",
		"x = [1":                  "a comma or the closing ] is missing",
		"x = {y = 1 z = 2}":       "a comma or the closing } is missing",
		"x = [1,,2]":              "there is a comma too many",
		"x = 1\nx = 'hunter2'":    "x: " + twice,
		"x = {y = 1, y = 2}":      "x.y: " + twice,
		"x = {y = 1, y.z = 2}":    "x.y: " + twice,
		"[x]\n[x]":                again,
		"[x]\n[[x]]":              again,
		"x = 'hunter2\x01'":       "there is an invisible control character in this line, write the line again",
		"x = 'hunter2\xff'":       "this is not plain text, save the file as UTF-8",
		"\xff\xfex\x00=\x001\x00": "this is not plain text, save the file as UTF-8",
	} {
		_, err := parse(&report{file: "file", data: []byte(bad)})
		if err == nil {
			t.Errorf("%q is taken", bad)
			continue
		}
		if _, got, _ := strings.Cut(err.Error(), ": "); got != want && !strings.HasPrefix(got, want+"\n") {
			t.Errorf("%q: %s\nwant: %s", bad, got, want)
		}
	}
}

func TestSyntaxLine(t *testing.T) {
	for bad, want := range map[string]string{
		"[log]\nlevel = \"info":                               "file:2: ",
		"[log]\nlevel = \"\\":                                 "file:2: ",
		"[log]\nlevel = \"\"\"info\n\n[viewer]\n":             "file:2: ",
		"[log]\nlevel = [\n'''info''',\n'''\n\n[viewer]\n":    "file:4: ",
		"\xef\xbb\xbf[log]\nlevel\n\n":                        "file:2: ",
		"[log]\nlevel = \"\"\"\n\\q\"\"\"":                    "file:2: ",
		"[log]\nlevel =\n\n":                                  "file:2: ",
		"[log]\r\nlevel =\r\nformat = 'text'":                 "file:2: ",
		"[log]\nlevel = 'info'\nformat = 'text'\nlevel = 1\n": "file:4: ",
	} {
		_, err := parse(&report{file: "file", data: []byte(bad)})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", bad, err, want)
		}
	}
}

// TestExcerptHoldsNoSecret breaks lines that hold one, and lines around it.
func TestExcerptHoldsNoSecret(t *testing.T) {
	for _, bad := range []string{
		"[viewer]\npassword = hunter2",
		"[viewer]\npassword = 'hunter2'\npassword = 'hunter2'",
		"[viewer]\npassword = \"\"\"\nlisten = hunter2\\q\"\"\"",
		"[viewer]\ntoken =\n'hunter2'",
		"viewer = { listen = ':1', token = hunter2 }",
		"[viewer]\nlisten = \":1\" password = \"hunter2\"",
		"[viewer]\nhunter2",
	} {
		if _, err := parse(&report{file: "file", data: []byte(bad)}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error without the secret", bad, err)
		}
	}
	_, err := parse(&report{file: "file", data: []byte("[viewer]\nlisten = :8080 # all")})
	const want = "file:2: what is not a whole number or a list has to be in quotes, like \"5s\"\n    listen = :8080 # all"
	if err == nil || cmp.Diff(want, err.Error()) != "" {
		t.Errorf("%v, want %s", err, want)
	}
}
