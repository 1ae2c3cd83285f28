package config

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestIndex(t *testing.T) {
	for _, test := range []struct {
		doc  string
		want map[string]int
	}{
		{"", map[string]int{}},
		{"\xef\xbb\xbf# comment = 1\r\n\r\na = 1\r\nb . 'c' = 2", map[string]int{"a": 3, "b": 4, "b.c": 4}},
		{"'a b' = '\\' # x\n\"q\\u0061\" = \"\\\\\\\"\" # x\n'a.b' = ''", map[string]int{"a b": 1, "qa": 2, `"a.b"`: 3}},
		{"a = \"\"\"\nb = 1\\\n\\\"\"\" c = 2\n\"\"\"\"\"\nd = '''\ne = 1\\''''\nf = ''''''", map[string]int{"a": 1, "d": 5, "f": 7}},
		{"a = [ # ]\n1, [2,\n3 ], ']', {\n b.c = [ ], } ]\nd = 1979-05-27 07:32:00", map[string]int{
			"a": 1, "a[0]": 2, "a[1]": 2, "a[1][0]": 2, "a[1][1]": 3, "a[2]": 3, "a[3]": 3, "a[3].b": 4, "a[3].b.c": 4, "d": 5,
		}},
		{"[a]\nb = 1\n[[ c ]]\n[[c . d]]\ne = 1\n[[c.d]]\n[c.f]\ng = 1\n[[c]]\n[[c.d]]\n", map[string]int{
			"a": 1, "a.b": 2, "c": 3, "c[0]": 3, "c[0].d": 4, "c[0].d[0]": 4, "c[0].d[0].e": 5, "c[0].d[1]": 6,
			"c[0].f": 7, "c[0].f.g": 8, "c[1]": 9, "c[1].d": 10, "c[1].d[0]": 10,
		}},
	} {
		got, tooLong := indexKeys([]byte(test.doc))
		if diff := cmp.Diff(test.want, got); diff != "" || tooLong != 0 {
			t.Errorf("%s\ntoo long in line %d, -want +got:\n%s", test.doc, tooLong, diff)
		}
		checkIndex(t, []byte(test.doc))
	}
}

// TestNesting reads files that would need the memory of their length squared.
func TestNesting(t *testing.T) {
	const n = maxFileSize / 8
	for name, doc := range map[string]string{
		"lists":       "\na = " + strings.Repeat("[", n),
		"tables":      "\na = " + strings.Repeat("{a = ", n),
		"dots":        "\na" + strings.Repeat(".a", n) + " = 1",
		"header":      "\n[a" + strings.Repeat(".a", n) + "]",
		"long key":    "\n" + strings.Repeat("a", n) + " = [" + strings.Repeat("1,", n) + "]",
		"long quoted": "\n'" + strings.Repeat("a", n) + "' = {" + strings.Repeat("a=1,", n) + "}",
	} {
		_, err := parse(&report{file: "file", data: []byte(doc)})
		if want := "file:2: the key is too long, or nested too deep"; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// TestIndexOfRandomDocuments writes documents in which every key tells its own
// line: "k12" stands on line 12.
func TestIndexOfRandomDocuments(t *testing.T) {
	for seed := range uint64(200) {
		w := writer{rand: rand.New(rand.NewPCG(seed, 1)), newline: "\n", line: 1}
		if seed%2 == 1 {
			w.newline = "\r\n"
		}
		doc := w.document()
		tree := checkIndex(t, doc)
		if tree == nil {
			t.Fatalf("seed %d: not TOML:\n%s", seed, doc)
		}
		lines, _ := indexKeys(doc)
		keys := 0
		walk("", tree, func(path, key string) {
			if key == "" {
				return // an element
			}
			keys++
			number := strings.TrimPrefix(key, "k")
			if want, err := strconv.Atoi(strings.Split(number, " ")[0]); err != nil || lines[path] != want {
				t.Errorf("seed %d: %s is said to be on line %d", seed, path, lines[path])
			}
		})
		if keys < 20 {
			t.Errorf("seed %d: only %d keys", seed, keys)
		}
		if t.Failed() {
			t.Fatalf("%s", doc)
		}
	}
}

// writer writes random TOML.
type writer struct {
	bytes.Buffer
	rand    *rand.Rand
	newline string
	line    int
	keys    int
}

// put writes text, with the line breaks of the document.
func (w *writer) put(text string) {
	w.line += strings.Count(text, "\n")
	w.WriteString(strings.ReplaceAll(text, "\n", w.newline))
}

func (w *writer) choose(of ...string) string { return of[w.rand.IntN(len(of))] }

// key returns a new key, in some notation, for the line that is next.
func (w *writer) key() string {
	w.keys++
	name := fmt.Sprintf("k%d %d", w.line, w.keys)
	return w.choose(`"`+name+`"`, "'"+name+"'", `"\u006b`+name[1:]+`"`)
}

func (w *writer) document() []byte {
	var arrays []string
	for range 20 {
		for range w.rand.IntN(4) {
			w.put(w.choose("", "", "  ", "\t") + w.key() + w.choose("", " . "+w.key(), "."+w.key()) + w.choose("=", " = "))
			w.value(3)
			w.put(w.choose("", "  # x = [ \" '''") + "\n")
		}
		w.put(w.choose("", "\n", "# [x]\n", " \t\n# '''\n"))
		switch key := w.key(); w.rand.IntN(4) {
		case 0:
			w.put("[" + key + "." + w.key() + "]\n")
		case 1:
			arrays = append(arrays, key)
			w.put("[[" + key + "]]\n")
		case 2:
			if len(arrays) > 0 { // one more element of an array of tables, and a table in it
				array := arrays[w.rand.IntN(len(arrays))]
				w.put("[[" + array + "]]\n")
				w.put("[[ " + array + " . " + w.key() + " ]]\n")
			}
		}
	}
	return w.Bytes()
}

func (w *writer) value(depth int) {
	kinds := 8
	if depth == 0 {
		kinds = 6
	}
	switch w.rand.IntN(kinds) {
	case 0:
		w.put(w.choose("1", "-1_000", "0xff", "1e3", "inf", "true", "1979-05-27 07:32:00Z", "07:32:00"))
	case 1:
		w.put(w.choose(`""`, `"# x = 1"`, `"\" ]"`, `"\\"`, `"'''}"`))
	case 2:
		w.put(w.choose(`''`, `'# x = 1'`, `'\'`, `'"""'`))
	case 3:
		w.put(`"""` + w.choose("", "\nx = 1\n", "\\\n  [x]\n", `""`, `\"""`, `" '''`+"\n") + w.choose(`"""`, ` """"`, ` """""`))
	case 4:
		w.put(`'''` + w.choose("", "\nx = 1\n", "\\\n[x]\n", `''`, `\`, `' """`+"\n") + w.choose(` '''`, ` ''''`, ` '''''`))
	case 5:
		w.put(w.choose("[]", "{}", "[ # ]\n]", "{ }"))
	case 6:
		w.put("[" + w.choose("", "\n", " # [ ' \n"))
		for range 1 + w.rand.IntN(3) {
			w.value(depth - 1)
			w.put(w.choose(",", "\n,\n", ", # ]\n"))
		}
		w.put("]")
	case 7:
		w.put("{" + w.choose("", " "))
		for range 1 + w.rand.IntN(3) {
			w.put(w.key() + w.choose("", "."+w.key()) + "=")
			w.value(depth - 1)
			w.put(w.choose(",", ",\n", ", # }\n"))
		}
		w.put("}")
	}
}

// walk visits all that is below path. key is empty for elements of arrays.
func walk(path string, v any, visit func(path, key string)) {
	if items, ok := elements(v); ok {
		for i, item := range items {
			visit(element(path, i), "")
			walk(element(path, i), item, visit)
		}
	} else if table, ok := v.(map[string]any); ok {
		for key, value := range table {
			visit(join(path, key), key)
			walk(join(path, key), value, visit)
		}
	}
}

// checkIndex compares the index of a document with what the library reads, and
// returns that; nil if it isn't TOML.
func checkIndex(t *testing.T, doc []byte) map[string]any {
	lines, tooLong := indexKeys(doc)
	text := strings.Split(string(doc), "\n")
	for path, line := range lines {
		if line < 1 || line > len(text) {
			t.Fatalf("%s is on line %d of %d", path, line, len(text))
		}
	}
	if tooLong > 0 {
		return nil
	}
	var tree map[string]any
	meta, err := toml.Decode(string(doc), &tree)
	if err != nil {
		return nil
	}
	stands := func(key string, line int) bool {
		return strings.Contains(text[line-1], key) || strings.Contains(text[line-1], `\`)
	}
	walk("", tree, func(path, key string) {
		if line, ok := lines[path]; !ok {
			t.Errorf("%s is not in the index\n%q", path, doc)
		} else if !stands(key, line) {
			t.Errorf("%s does not stand on line %d\n%q", path, line, doc)
		}
	})

	indexed := make(map[string][]int) // by path without indices, as the library tells the keys
	for path, line := range lines {
		path = indices.ReplaceAllString(path, "")
		indexed[path] = append(indexed[path], line)
	}
	for _, key := range meta.Keys() {
		path := ""
		for _, part := range key {
			path = join(path, part)
		}
		found := slices.ContainsFunc(indexed[indices.ReplaceAllString(path, "")], func(line int) bool {
			return stands(key[len(key)-1], line)
		})
		if !found {
			t.Errorf("%q is not in the index\n%q", key, doc)
		}
	}
	return tree
}

var indices = regexp.MustCompile(`\[\d+\]`)

func FuzzIndex(f *testing.F) {
	for _, pattern := range []string{"testdata/*.toml", "../../configs/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for seed := range uint64(4) {
		w := writer{rand: rand.New(rand.NewPCG(seed, 2)), newline: "\n", line: 1}
		f.Add(w.document())
	}
	f.Fuzz(func(t *testing.T, doc []byte) { checkIndex(t, doc) })
}
