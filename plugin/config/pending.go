// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/pelletier/go-toml/v2"
)

// pendingKey is a key that is read but not acted on, or not for each value.
type pendingKey struct {
	// path is the key's path in its table; * stands for any name.
	path []string
	// lacks reports whether a value asks for what we lack. One that is empty never does.
	lacks func(value any) bool
	// effect says what happens instead, and what to do.
	effect string
}

// pendingImages and pendingRuntime are the keys of their tables that are not acted on. Acting on
// one means to remove its line.
var (
	pendingImages = []pendingKey{
		{[]string{"snapshotter"}, is(erofs), noMountManager},
		{[]string{"image_decryption", "key_model"}, isNot("node"), `encrypted images cannot be unpacked; write "node"`},
		{[]string{"use_local_image_pull"}, isNot(), "has no effect, images are pulled by the transfer service; remove the key"},
		{[]string{"runtime_platforms", "*", "platform"}, isNot(),
			"has no effect, images are pulled for the platform of this machine; remove the key, or keep such pods off this node"},
		{[]string{"runtime_platforms", "*", "snapshotter"}, is(erofs), noMountManager},
	}
	pendingRuntime = []pendingKey{
		{[]string{"containerd", "runtimes", "*", "sandboxer"}, isNot(sandboxerPod),
			`has no effect, pods of the handler are made as with "podsandbox"; write that, or keep such pods off this node`},
		{[]string{"containerd", "runtimes", "*", "io_type"}, isNot(ioFIFO), `has no effect, the shim gets FIFOs; write "fifo"`},
		{[]string{"containerd", "runtimes", "*", "disable_pause_image_pull"}, isNot(),
			"has no effect, no pause image is pulled for any handler; remove the key"},
		{[]string{"containerd", "runtimes", "*", "snapshotter"}, is(erofs), noMountManager},
	}
)

// A snapshotter whose mounts only containerd's mount manager understands.
const (
	erofs          = "erofs"
	noMountManager = `containers cannot be made, their mounts need containerd's mount manager, which is not used yet; write "overlayfs"`
)

// is makes a test for one value, isNot one for all others.
func is(lacked any) func(any) bool     { return func(v any) bool { return v == lacked } }
func isNot(fine ...any) func(any) bool { return func(v any) bool { return !slices.Contains(fine, v) } }

// Pending names each key of the table that is set but not acted on, with what happens instead and
// what to do: one line per key, in a fixed order, for a warning at start. No value is printed,
// since some are secrets.
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
			if v := lookup(tree, path); !isEmpty(v) && key.lacks(v) {
				lines = append(lines, KeyPath(table, path...)+": "+key.effect)
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
