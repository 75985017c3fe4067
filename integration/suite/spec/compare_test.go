// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// absent is the value of a leaf that one side does not have.
const absent = "-"

// leaves are the values of a tree by path, for example process.cwd → "/".
type leaves map[string]string

// identities name the field that identifies the members of a list whose order has no meaning.
var identities = map[string]string{
	"mounts": "destination", "status.mounts": "containerPath", "linux.namespaces": "type",
	"linux.devices": "path", "linux.resources.hugepageLimits": "pageSize",
}

// unordered matches lists of strings whose order has no meaning.
var unordered = regexp.MustCompile(`^process\.capabilities\.|^process\.user\.additionalGids$|^linux\.(masked|readonly)Paths$|^mounts\[.*\]\.options$`)

// add adds the leaves of a value's JSON form below prefix.
func (l leaves) add(prefix string, value any, normalise func(string) string) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var tree any
	if err := json.Unmarshal([]byte(normalise(string(text))), &tree); err != nil {
		return err
	}
	l.walk(prefix, tree)
	return nil
}

func (l leaves) walk(path string, node any) {
	switch node := node.(type) {
	case map[string]any:
		for key, child := range node {
			l.walk(strings.TrimPrefix(path+"."+key, "."), child)
		}
	case []any:
		l.walkList(path, node)
	case string:
		l.set(path, node)
	default:
		l.set(path, compact(node))
	}
}

func (l leaves) walkList(path string, list []any) {
	if path == "process.env" {
		l.walkEnvironment(list)
		return
	}
	key, ok := identities[path]
	if !ok {
		if unordered.MatchString(path) {
			slices.SortFunc(list, func(x, y any) int { return strings.Compare(compact(x), compact(y)) })
		}
		l.set(path, compact(list))
		return
	}
	for _, item := range list {
		l.walk(fmt.Sprintf("%s[%v]", path, item.(map[string]any)[key]), item)
	}
}

// walkEnvironment adds a leaf for each variable. For a duplicate variable the last value counts.
func (l leaves) walkEnvironment(list []any) {
	for _, item := range list {
		name, value, _ := strings.Cut(item.(string), "=")
		l["process.env["+name+"]"] = value
	}
}

// set adds a leaf. A second leaf with the same path, as of two mounts on one destination, gets a
// suffix.
func (l leaves) set(path, value string) {
	for l[path] != "" {
		path += "'"
	}
	l[path] = value
}

func compact(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // node comes from json.Unmarshal
	}
	return string(text)
}

// difference is a leaf with different values. In a known difference, * stands for any text.
type difference struct {
	name, path  string
	stock, lite string
	reason      string
}

// allows reports whether the known difference d matches found.
func (d difference) allows(found difference) bool {
	return match(d.name, found.name) && match(d.path, found.path) && match(d.stock, found.stock) && match(d.lite, found.lite)
}

func match(pattern, text string) bool {
	expression := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `(?s:.*)`)
	return regexp.MustCompile("^" + expression + "$").MatchString(text)
}

func compare(t *testing.T, stock, lite map[string]leaves) {
	t.Helper()
	list := known()
	used := make([]bool, len(list))
	for _, name := range slices.Sorted(maps.Keys(stock)) {
		for _, found := range differences(name, stock[name], lite[name]) {
			i := slices.IndexFunc(list, func(d difference) bool { return d.allows(found) })
			if i < 0 {
				t.Errorf("%s: %s\n  stock: %.900s\n  lite:  %.900s", found.name, found.path, found.stock, found.lite)
				continue
			}
			used[i] = true
		}
	}
	for i, d := range list {
		if !used[i] {
			t.Errorf("a known difference no longer exists: %s: %s: stock %s, lite %s (%s)", d.name, d.path, d.stock, d.lite, d.reason)
		}
	}
}

func differences(name string, stock, lite leaves) []difference {
	var found []difference
	paths := maps.Clone(stock)
	maps.Copy(paths, lite)
	if paths[refused] != "" { // one daemon refused the request: there is no other leaf
		paths = leaves{refused: ""}
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		d := difference{name: name, path: path, stock: absent, lite: absent}
		if v, ok := stock[path]; ok {
			d.stock = v
		}
		if v, ok := lite[path]; ok {
			d.lite = v
		}
		if d.stock != d.lite {
			found = append(found, d)
		}
	}
	return found
}
