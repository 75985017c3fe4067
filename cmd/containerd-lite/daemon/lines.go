// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// lines are the line numbers of keys and tables in a file, by their path joined with NUL.
type lines map[string]int

// findLines returns the line of every key in a file that is valid TOML.
func findLines(data []byte) lines {
	var p unstable.Parser
	p.Reset(data)
	found := lines{}
	var table []string
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = found.add(&p, nil, e)
		case unstable.KeyValue:
			found.addValue(&p, table, e)
		}
	}
	return found
}

// add records the line of a node's key and returns the key's full path.
func (l lines) add(p *unstable.Parser, table []string, node *unstable.Node) []string {
	path := append([]string{}, table...)
	for key := node.Key(); key.Next(); {
		path = append(path, string(key.Node().Data))
		if _, seen := l[join(path)]; !seen {
			l[join(path)] = p.Shape(key.Node().Raw).Start.Line
		}
	}
	return path
}

func (l lines) addValue(p *unstable.Parser, table []string, node *unstable.Node) {
	path := l.add(p, table, node)
	if node.Value().Kind != unstable.InlineTable {
		return
	}
	for child := node.Value().Children(); child.Next(); {
		l.addValue(p, path, child.Node())
	}
}

func join(path []string) string { return strings.Join(path, "\x00") }

// position returns the file and line of a problem. A key that is in no file, such as a missing one,
// gets the line of the innermost table around it.
func position(files []file, p config.Problem) string {
	best, depth := files[0].path, 0
	places := append([][]string{append([]string{p.Table}, p.Key...)}, config.OldKeys(p.Table, p.Key)...)
	for _, place := range places {
		for _, f := range files {
			// The number of missing keys counts, since an old place may have a longer path than the
			// new one.
			line, missing := f.lines.find(append([]string{"plugins"}, place...))
			if score := len(p.Key) + 1 - missing; line > 0 && score > 0 && score >= depth {
				best, depth = fmt.Sprintf("%s:%d", f.path, line), score
			}
		}
	}
	return best
}

// find returns the line of the longest prefix of path that is in the file, and how many keys of
// path are missing.
func (l lines) find(path []string) (line, missing int) {
	for n := len(path); n > 0; n-- {
		if line, ok := l[join(path[:n])]; ok {
			return line, len(path) - n
		}
	}
	return 0, len(path)
}
