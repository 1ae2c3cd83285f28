package config

import (
	"encoding"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// decodeFile decodes the file of r over cfg and reports everything that does
// not fit. It does not stop at the first.
func decodeFile(r *report, cfg *Config) {
	var tree map[string]any
	if err := toml.Unmarshal(r.data, &tree); err != nil {
		r.syntax(err)
		return
	}
	r.readable = true
	r.keys = indexKeys(r.data)
	d := decoder{r: r, root: reflect.TypeFor[Config]()}
	d.table("", tree, reflect.ValueOf(cfg).Elem())
}

// syntax reports a file that is not TOML.
func (r *report) syntax(err error) {
	f := found{text: err.Error()}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		f.text = inWords(strings.TrimPrefix(de.Error(), "toml: "))
		f.line, _ = de.Position()
		f.excerpt = safeExcerpt(r.data, f.line)
	}
	r.problems = append(r.problems, f)
}

// inWords says the two commonest mistakes for people who don't know TOML.
func inWords(syntax string) string {
	switch {
	case strings.Contains(syntax, "cannot have new lines"):
		return "the closing quote is missing"
	case strings.Contains(syntax, "strings must be quoted"):
		return `what is not a whole number or a list has to be in quotes, like "5s"`
	}
	return syntax
}

// textValue is a type that is written as a TOML string, checks it itself and
// knows how one looks.
type textValue interface {
	encoding.TextUnmarshaler
	example() string
}

// decoder fills structs from a decoded TOML tree by their toml tags.
type decoder struct {
	r    *report
	root reflect.Type
}

// table fills a struct from a table.
func (d *decoder) table(path string, tree map[string]any, dst reflect.Value) {
	used := make(map[string]bool, len(tree))
	for name, field := range fields(dst) {
		key := join(path, name)
		if field.Type() == reflect.TypeFor[Secret]() {
			used[name], used[name+"_file"] = true, true
			field.Set(reflect.ValueOf(d.secret(key, tree[name], tree[name+"_file"])))
			continue
		}
		if v, ok := tree[name]; ok {
			used[name] = true
			d.value(key, v, field)
		}
	}
	for name := range tree {
		if !used[name] {
			d.unknown(path, name, dst)
		}
	}
}

// value sets dst to a TOML value.
func (d *decoder) value(path string, v any, dst reflect.Value) {
	if text, ok := dst.Addr().Interface().(textValue); ok {
		s, ok := v.(string)
		if !ok {
			d.r.problem(path, "%s does not fit, write it like %s", describe(v), text.example())
		} else if err := text.UnmarshalText([]byte(s)); err != nil {
			d.r.problem(path, "%s", err)
		}
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		switch tree := v.(type) {
		case map[string]any:
			d.table(path, tree, dst)
		case []any:
			d.r.problem(path, "there is only one, write [%s] with single brackets", plainPath(path))
		default:
			d.r.problem(path, "%s is not a table, write [%s]", describe(v), plainPath(path))
		}
	case reflect.Slice:
		d.slice(path, v, dst)
	case reflect.Int:
		if n, ok := v.(int64); ok && int64(int(n)) == n {
			dst.SetInt(n)
		} else {
			d.r.problem(path, "%s is not a whole number, write it like 30", describe(v))
		}
	case reflect.String:
		if s, ok := v.(string); ok {
			dst.SetString(s)
		} else {
			d.r.problem(path, "%s is not text, put it in quotes", describe(v))
		}
	default:
		panic("config: internal error: a field of type " + dst.Type().String())
	}
}

// slice replaces the default by what the file has.
func (d *decoder) slice(path string, v any, dst reflect.Value) {
	items, ok := v.([]any)
	elem := dst.Type().Elem()
	isTable := elem.Kind() == reflect.Struct && !reflect.PointerTo(elem).Implements(reflect.TypeFor[textValue]())
	switch {
	case !ok && isTable:
		d.r.problem(path, "there can be several, write [[%s]] with double brackets", plainPath(path))
		return
	case !ok:
		d.r.problem(path, "%s is not a list, put it in [ ]", describe(v))
		return
	}
	list := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		d.value(element(path, i), item, list.Index(i))
	}
	dst.Set(list)
}

// secret finds a secret where the package comment says, in that order.
func (d *decoder) secret(path string, inline, file any) Secret {
	if s, ok, err := credential(path); err != nil {
		d.r.problem(path, "read systemd credential: %s", err)
		return Secret{}
	} else if ok {
		return Secret{value: &s, origin: "systemd credential " + path}
	}
	if inline != nil && file != nil {
		d.r.problem(path, "both %[1]s and %[1]s_file are set, keep one", leaf(path))
		return Secret{}
	}
	if file != nil {
		return d.secretFile(path+"_file", file)
	}
	if s, ok := environment(path); ok {
		if err := checkSecret(s); err != nil {
			d.r.problem(path, "$%s %s", environmentName(path), err)
			return Secret{}
		}
		return Secret{value: &s, origin: "environment " + environmentName(path)}
	}
	switch s, ok := inline.(string); {
	case inline == nil:
		return Secret{}
	case !ok:
		d.r.problem(path, "it is not text, put it in quotes")
		return Secret{}
	default:
		if err := checkSecret(s); err != nil {
			d.r.problem(path, "it %s", err)
		}
		return Secret{value: &s, origin: d.r.file}
	}
}

func (d *decoder) secretFile(path string, v any) Secret {
	name, ok := v.(string)
	if !ok || name == "" {
		d.r.problem(path, "%s is not the name of a file", describe(v))
		return Secret{}
	}
	name = inFolderOf(d.r.file, name)
	s, open, err := readSecret(name)
	if err != nil {
		d.r.problem(path, "%s", err)
		return Secret{}
	}
	if open {
		d.r.warning(path, "other users can read %s, run: chmod 600 %[1]s", name)
	}
	return Secret{value: &s, origin: "file " + name, file: name}
}

// unknown reports a key that the table doesn't have, with the key that was
// probably meant.
func (d *decoder) unknown(path, name string, table reflect.Value) {
	var here, files []string
	for known, field := range fields(table) {
		here = append(here, known)
		if field.Type() == reflect.TypeFor[Secret]() {
			files = append(files, known+"_file")
		}
	}
	key := join(path, name)
	for _, known := range append(files, here...) {
		if strings.EqualFold(known, name) {
			d.r.problem(key, "keys are written in lower case, write %q", known)
			return
		}
	}
	if known := Nearest(name, append(files, here...)); known != "" {
		d.r.problem(key, "unknown key, did you mean %q?", known)
		return
	}
	if tables := tablesWith(d.root, name); len(tables) > 0 {
		d.r.problem(key, "unknown key here, it belongs to %s", orList(tables))
		return
	}
	d.r.problem(key, "unknown %s, there are %s", what(path), andList(here))
}

// what names the things that a table has.
func what(path string) string {
	if path == "" {
		return "table"
	}
	return "key"
}

// tablesWith returns the top-level tables that have a key.
func tablesWith(root reflect.Type, name string) []string {
	var tables []string
	for table, field := range fields(reflect.New(root).Elem()) {
		header := "[" + table + "]"
		t := field.Type()
		if t.Kind() == reflect.Slice {
			header, t = "[["+table+"]]", t.Elem()
		}
		for key := range fields(reflect.New(t).Elem()) {
			if key == name {
				tables = append(tables, header)
			}
		}
	}
	return tables
}

// fields yields the fields of a struct that have a toml tag, by its name.
func fields(v reflect.Value) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		if v.Kind() != reflect.Struct {
			return
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("toml")
			if name != "" && !yield(name, v.Field(i)) {
				return
			}
		}
	}
}

func leaf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// describe names a value of the wrong type in a message.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.40q", v)
	case int64, float64, bool:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date"
	}
}

var secretWords = regexp.MustCompile(`(?i)pass|token|secret|credential`)

// safeExcerpt returns a line of a file that could not be parsed, if it can't
// be part of a secret: a table header, or a known key with its value.
func safeExcerpt(data []byte, line int) string {
	lines := strings.Split(string(data), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
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
