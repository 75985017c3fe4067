// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/pelletier/go-toml/v2"
)

// pendingKey is a key that is read but not acted on yet.
type pendingKey struct {
	// path is the key's path in its table; * stands for any name.
	path []string
	// fine are the values that ask for nothing we lack. A value that is empty never does.
	fine []any
	// effect says what happens instead.
	effect string
}

// pendingImages and pendingRuntime are the keys of their tables that are not acted on yet. Acting on one means to
// remove its line.
var (
	pendingImages = []pendingKey{
		{[]string{"image_decryption", "key_model"}, []any{"node"}, "encrypted images cannot be unpacked"},
		{[]string{"use_local_image_pull"}, nil, "images are pulled the same way for every value"},
		{[]string{"runtime_platforms", "*", "platform"}, nil, "images are pulled for this machine's platform"},
		{[]string{"registry", "mirrors"}, nil, "write <config_path>/<host>/hosts.toml instead"},
	}
	pendingRuntime = []pendingKey{
		{[]string{"containerd", "runtimes", "*", "sandboxer"}, []any{sandboxerPod}, "pods of the handler are made as with podsandbox"},
		{[]string{"containerd", "runtimes", "*", "io_type"}, []any{ioFIFO}, "the shim gets FIFOs"},
	}
)

// Pending names each key of the table that is set but not acted on yet, with what happens instead: one line per key, in a
// fixed order, for a warning at start. No value is printed, since some are secrets.
func (i Images) Pending() []string {
	lines := pendingIn(ImagesTable, i, pendingImages)
	// The only pending key whose zero value asks for something.
	if !i.DisableSnapshotAnnotations {
		lines = append(lines, KeyPath(ImagesTable, "disable_snapshot_annotations")+
			" is not acted on yet: remote snapshotters get no annotations")
	}
	return lines
}

// Pending is [Images.Pending] for this table.
func (r Runtime) Pending() []string {
	return pendingIn(RuntimeTable, r, pendingRuntime)
}

func pendingIn(table string, config any, keys []pendingKey) []string {
	data, err := toml.Marshal(config)
	if err != nil {
		return []string{fmt.Sprintf("%s: encode: %v", KeyPath(table), err)}
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		return []string{fmt.Sprintf("%s: decode: %v", KeyPath(table), err)}
	}
	var lines []string
	for _, key := range keys {
		for _, path := range expand(tree, key.path) {
			if v := lookup(tree, path); !isEmpty(v) && !slices.Contains(key.fine, v) {
				lines = append(lines, KeyPath(table, path...)+" is not acted on yet: "+key.effect)
			}
		}
	}
	return lines
}

// expand replaces * in path by each name in its place of the tree.
func expand(tree map[string]any, path []string) [][]string {
	star := slices.Index(path, "*")
	if star < 0 {
		return [][]string{path}
	}
	names, _ := lookup(tree, path[:star]).(map[string]any)
	var all [][]string
	for _, name := range sortedKeys(names) {
		all = append(all, slices.Concat(path[:star], []string{name}, path[star+1:]))
	}
	return all
}

// lookup returns the value at path, or nil.
func lookup(tree map[string]any, path []string) any {
	var v any = tree
	for _, name := range path {
		table, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = table[name]
	}
	return v
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return out
}
