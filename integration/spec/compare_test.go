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

// leaves are the values of a tree by their path: process.cwd → "/".
type leaves map[string]string

// identities name the field by which the members of a list are told apart; their order means
// nothing.
var identities = map[string]string{
	"mounts": "destination", "status.mounts": "containerPath", "linux.namespaces": "type",
	"linux.devices": "path", "linux.resources.hugepageLimits": "pageSize",
}

// unordered are lists of words whose order means nothing.
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

// walkEnvironment has a leaf for each variable; one that is set twice has the value that it was set
// to last.
func (l leaves) walkEnvironment(list []any) {
	for _, item := range list {
		name, value, _ := strings.Cut(item.(string), "=")
		l["process.env["+name+"]"] = value
	}
}

// set adds a leaf; a second one of the same path, as of two mounts on one destination, gets
// another.
func (l leaves) set(path, value string) {
	for l[path] != "" {
		path += "'"
	}
	l[path] = value
}

func compact(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it came out of json.Unmarshal
	}
	return string(text)
}

// difference is a leaf that the daemons do not agree on. In one that is known, * stands for any
// text.
type difference struct {
	name, path  string
	stock, lite string
	reason      string
}

// allows tells whether d, which is known, is what was found.
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
			t.Errorf("a known difference is gone: %s: %s: stock %s, lite %s (%s)", d.name, d.path, d.stock, d.lite, d.reason)
		}
	}
}

func differences(name string, stock, lite leaves) []difference {
	var found []difference
	paths := maps.Clone(stock)
	maps.Copy(paths, lite)
	if paths[refused] != "" { // one of them has nothing else
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
