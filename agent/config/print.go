package config

import (
	"cmp"
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// WriteTOML writes the configuration with all its defaults, in a form that
// Load reads. Secrets are left out; a comment tells where each came from.
func (c *Config) WriteTOML(w io.Writer) error {
	var b strings.Builder
	for name, field := range fields(reflect.ValueOf(c).Elem()) {
		if name == "recording" && c.Recording.Dir == "" || name == "offload" && c.Offload.Server == (Address{}) {
			continue // not used
		}
		if field.Kind() == reflect.Slice {
			for i := range field.Len() {
				fmt.Fprintf(&b, "[[%s]]\n", name)
				writeKeys(&b, field.Index(i))
			}
		} else {
			fmt.Fprintf(&b, "[%s]\n", name)
			writeKeys(&b, field)
		}
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}

// writeKeys writes what is set in a table. A secret can't be written: its file
// is, or else a comment.
func writeKeys(b *strings.Builder, table reflect.Value) {
	for name, field := range fields(table) {
		secret, isSecret := field.Interface().(Secret)
		switch {
		case field.IsZero() && field.Kind() != reflect.Bool:
		case !isSecret:
			fmt.Fprintf(b, "%s = %s\n", name, literal(field))
		case secret.file != "":
			fmt.Fprintf(b, "%s_file = %s\n", name, quote(secret.file))
		default:
			fmt.Fprintf(b, "# %s: %s, from %s\n", name, redacted, cmp.Or(secret.origin, "the program"))
		}
	}
	b.WriteByte('\n')
}

// literal writes a value in TOML.
func literal(v reflect.Value) string {
	if secret, ok := v.Interface().(Secret); ok {
		return quote(secret.String())
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, _ := m.MarshalText() // ours never fail
		return quote(string(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = literal(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Struct:
		var keys []string
		for name, field := range fields(v) {
			secret, isSecret := field.Interface().(Secret)
			switch {
			case field.IsZero():
			case isSecret && secret.file != "":
				keys = append(keys, name+"_file = "+quote(secret.file))
			default:
				keys = append(keys, name+" = "+literal(field))
			}
		}
		return "{ " + strings.Join(keys, ", ") + " }"
	default:
		return quote(v.String())
	}
}

// quote writes a TOML basic string (TOML 1.0, section String).
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
