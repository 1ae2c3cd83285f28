package config

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// decodeFile decodes the file of r over the struct that dst points to, and
// reports everything that does not fit. It does not stop at the first.
func decodeFile(r *report, dst any) {
	var tooLong int
	if r.keys, tooLong = indexKeys(r.data); tooLong > 0 {
		r.problems = append(r.problems, found{line: tooLong, text: "the key is too long, or nested too deep"})
		return
	}
	var tree map[string]any
	if err := toml.Unmarshal(r.data, &tree); err != nil {
		r.syntax(err)
		return
	}
	r.readable = true
	root := reflect.ValueOf(dst).Elem()
	d := decoder{r: r, root: root.Type()}
	d.table("", tree, root)
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
		case []any, []map[string]any:
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
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			dst.SetBool(b)
		} else {
			d.r.problem(path, "%s does not fit, write true or false, without quotes", describe(v))
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
	items, ok := elements(v)
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
	filled := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		d.value(element(path, i), item, filled.Index(i))
	}
	dst.Set(filled)
}

// elements returns what is in a list, written [a, b] or as [[tables]].
func elements(v any) (items []any, ok bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []map[string]any:
		for _, table := range v {
			items = append(items, table)
		}
		return items, true
	}
	return nil, false
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

// fields yields the fields of a struct that have a toml tag, by its name, and
// those of the structs that are embedded in it.
func fields(v reflect.Value) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		if v.Kind() != reflect.Struct {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Anonymous {
				for name, field := range fields(v.Field(i)) {
					if !yield(name, field) {
						return
					}
				}
			}
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
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date"
	}
}
