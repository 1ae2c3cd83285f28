package config

import (
	"strconv"

	"github.com/pelletier/go-toml/v2/unstable"
)

// indexKeys returns the byte offset of every key of a valid TOML document, by
// its path: "viewer.listen", "camera[1].fps". The elements of arrays, also of
// arrays of tables, are counted from 0.
func indexKeys(data []byte) map[string]int {
	x := keyIndex{at: make(map[string]int), tables: make(map[string]int)}
	var p unstable.Parser
	p.Reset(data)
	table := ""
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = x.header(e.Key(), false)
		case unstable.ArrayTable:
			table = x.header(e.Key(), true)
		case unstable.KeyValue:
			x.keyValue(table, e)
		}
	}
	return x.at
}

type keyIndex struct {
	at     map[string]int
	tables map[string]int // number of [[tables]] seen, by path
}

// header notes the keys of [a.b] or [[a.b]] and returns the path of the table.
func (x *keyIndex) header(key unstable.Iterator, array bool) string {
	path := ""
	for key.Next() {
		n := key.Node()
		path = join(path, string(n.Data))
		x.note(path, n)
		if array && key.IsLast() {
			x.tables[path]++
		}
		if count := x.tables[path]; count > 0 {
			path = element(path, count-1)
			x.note(path, n)
		}
	}
	return path
}

// keyValue notes a.b = value and what is inside of the value.
func (x *keyIndex) keyValue(path string, kv *unstable.Node) {
	for key := kv.Key(); key.Next(); {
		path = join(path, string(key.Node().Data))
		x.note(path, key.Node())
	}
	x.value(path, kv.Value())
}

func (x *keyIndex) value(path string, v *unstable.Node) {
	i := 0
	for child := v.Children(); child.Next(); {
		n := child.Node()
		switch {
		case n.Kind == unstable.KeyValue: // of an inline table
			x.keyValue(path, n)
		case v.Kind == unstable.Array && n.Kind != unstable.Comment:
			item := element(path, i)
			if n.Raw.Length > 0 { // nested arrays have no position
				x.note(item, n)
			}
			x.value(item, n)
			i++
		}
	}
}

// note keeps the first position of a path.
func (x *keyIndex) note(path string, n *unstable.Node) {
	if _, ok := x.at[path]; !ok {
		x.at[path] = int(n.Raw.Offset)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
