// SPDX-License-Identifier: Apache-2.0

package dropin

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// absent is the value of a leaf that one side does not have.
const absent = "-"

// leaves are the values of documents by path, each as JSON, so that types are compared, too.
type leaves map[string]string

// message adds a message of the CRI, or a nil message as absent.
func (l leaves) message(path string, m proto.Message, normalise func(string) string) {
	text, err := protojson.Marshal(m)
	if err != nil {
		panic(err) // the message was decoded a moment before
	}
	l.document(path, string(text), normalise)
}

// info adds the documents of a verbose answer.
func (l leaves) info(path string, info map[string]string, normalise func(string) string) {
	for key, text := range info {
		if json.Valid([]byte(text)) {
			l.document(path+"."+key, text, normalise)
			continue
		}
		l.values(path+"."+key, text, normalise)
	}
}

// values adds a value in its JSON form.
func (l leaves) values(path string, value any, normalise func(string) string) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // see message
	}
	l.document(path, string(text), normalise)
}

func (l leaves) document(path, text string, normalise func(string) string) {
	var tree any
	if err := json.Unmarshal([]byte(normalise(text)), &tree); err != nil {
		panic(fmt.Sprintf("%s: %v in %s", path, err, text)) // normalise has broken it
	}
	l.walk(path, tree)
}

// specs matches the parts of documents whose structure is compared here. Package
// integration/suite/spec compares their values.
var specs = regexp.MustCompile(`\.runtimeSpec\.`)

func (l leaves) walk(path string, node any) {
	switch node := node.(type) {
	case map[string]any:
		if len(node) > 0 {
			for key, child := range node {
				l.walk(path+"."+key, child)
			}
			return
		}
	case []any:
		for i, child := range node {
			index := fmt.Sprint(i)
			if specs.MatchString(path + ".") {
				index = ""
			}
			l.walk(path+"["+index+"]", child)
		}
		if len(node) > 0 {
			return
		}
	}
	text, err := json.Marshal(node)
	if err != nil {
		panic(err) // node comes from json.Unmarshal
	}
	if specs.MatchString(path) {
		text = fmt.Appendf(nil, "%T", node)
	}
	l[path] = string(text)
}

// normaliser replaces values that differ from run to run by placeholders.
func (b bench) normaliser(s *stage) func(string) string {
	known := []string{b.Root, "<root>"}
	if s != nil {
		for name, id := range s.pods {
			known = append(known, id, "<pod "+name+">")
		}
		for name, id := range s.containers {
			known = append(known, id, "<container "+name+">")
		}
	}
	ids := strings.NewReplacer(known...)
	return func(text string) string {
		text = ids.Replace(text)
		for _, r := range runs {
			text = r.find.ReplaceAllString(text, r.with)
		}
		return text
	}
}

// runs are the values, except IDs, that differ from run to run.
var runs = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`"(createdAt|startedAt|finishedAt)": ?"\d+"`), `"$1":"<time>"`},
	{regexp.MustCompile(`"pid": ?[1-9]\d*`), `"pid":7`},
	{regexp.MustCompile(`/netns/cni-(<pod \w+>|[0-9a-f-]{36})`), `/netns/cni-<id>`},
	{regexp.MustCompile(`\b198\.18\.\d+\.([2-9]|\d\d+)\b`), `<address>`},
	{regexp.MustCompile(`\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b`), `<mac>`},
	{regexp.MustCompile(`\bveth[0-9a-f]{8}\b`), `<veth>`},
}

// difference is a value in which the daemons differ. In a known difference, * stands for any text,
// and (a|b) for a or b.
type difference struct {
	path, stock, lite string
	reason            string
}

// among returns the index of the known difference that matches d, or -1.
func (d difference) among(known []difference) int {
	return slices.IndexFunc(known, func(k difference) bool {
		return match(k.path, d.path) && match(k.stock, d.stock) && match(k.lite, d.lite)
	})
}

// special are the characters that have a meaning in a pattern.
var special = strings.NewReplacer(`\*`, `(?s:.*)`, `\(`, `(`, `\|`, `|`, `\)`, `)`)

func match(pattern, text string) bool {
	expression := special.Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + expression + "$").MatchString(text)
}

func differences(stock, lite leaves) []difference {
	paths := maps.Clone(stock)
	maps.Copy(paths, lite)
	var found []difference
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		d := difference{path: path, stock: absent, lite: absent}
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
