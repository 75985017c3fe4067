// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/pelletier/go-toml/v2"
)

// pendingKey is a key that is read but has no effect, or not with every value.
type pendingKey struct {
	// path is the key's path in its table; * stands for any name.
	path []string
	// unsupported reports whether a value has no effect. Empty values are not tested.
	unsupported func(value any) bool
	// effect says what happens instead, and what the user can do.
	effect string
}

// pendingImages and pendingRuntime are the keys of their tables that have no effect. Remove a key's
// line when the key is implemented.
var (
	pendingImages = []pendingKey{
		{[]string{"snapshotter"}, is(erofs), noMountManager},
		{[]string{"image_decryption", "key_model"}, isNot("node"), `encrypted images cannot be unpacked; write "node"`},
		{[]string{"use_local_image_pull"}, isNot(), "has no effect, images are pulled by the transfer service; remove the key"},
		{[]string{"runtime_platforms", "*", "platform"}, isNot(),
			"has no effect, images are pulled for the platform of this node; remove the key, or keep such pods off this node"},
		{[]string{"runtime_platforms", "*", "snapshotter"}, is(erofs), noMountManager},
	}
	pendingRuntime = []pendingKey{
		{[]string{"containerd", "runtimes", "*", "sandboxer"}, isNot(sandboxerPod),
			`has no effect, pods of the handler are created as with "podsandbox"; write "podsandbox", or keep such pods off this node`},
		{[]string{"containerd", "runtimes", "*", "io_type"}, isNot(ioFIFO), `has no effect, the shim gets FIFOs; write "fifo"`},
		{[]string{"containerd", "runtimes", "*", "disable_pause_image_pull"}, isNot(),
			"has no effect, no pause image is pulled for any handler; remove the key"},
		{[]string{"containerd", "runtimes", "*", "snapshotter"}, is(erofs), noMountManager},
	}
)

// The snapshotter erofs returns mounts that only containerd's mount manager can handle.
const (
	erofs          = "erofs"
	noMountManager = `containers cannot be created, because their mounts need containerd's mount manager, which is not used yet; write "overlayfs"`
)

// is tests for one value, isNot for all other values.
func is(lacked any) func(any) bool     { return func(v any) bool { return v == lacked } }
func isNot(fine ...any) func(any) bool { return func(v any) bool { return !slices.Contains(fine, v) } }

// Pending returns a line for each key of the table that is set but has no effect, in a fixed order,
// for a warning at start. The line says what happens instead and what the user can do. It does not
// have the value, which may be a secret.
func (i Images) Pending() []string { return pendingIn(ImagesTable, i, pendingImages) }

// Pending is [Images.Pending] for this table.
func (r Runtime) Pending() []string { return pendingIn(RuntimeTable, r, pendingRuntime) }

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
			if v := lookup(tree, path); !isEmpty(v) && key.unsupported(v) {
				lines = append(lines, KeyPath(table, path...)+": "+key.effect)
			}
		}
	}
	return lines
}

// expand replaces * in path by each name at that place of the tree.
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
