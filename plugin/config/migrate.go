// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
)

// currentVersion is the version of config.toml whose tables are those of this package.
const currentVersion = 4

// movedKey is a key that was in the single table of the CRI up to version 2.
type movedKey struct{ from, table, to string }

// moved are the keys that left that table; paths are joined by dots. Server's own keys stay in it.
// All other keys are keys of Runtime under the same path.
var moved = []movedKey{
	{"sandbox_image", ImagesTable, "pinned_images.sandbox"},
	{"registry", ImagesTable, "registry"},
	{"image_decryption", ImagesTable, "image_decryption"},
	{"max_concurrent_downloads", ImagesTable, "max_concurrent_downloads"},
	{"image_pull_progress_timeout", ImagesTable, "image_pull_progress_timeout"},
	{"image_pull_with_sync_fs", ImagesTable, "image_pull_with_sync_fs"},
	{"stats_collect_period", ImagesTable, "stats_collect_period"},
	{"containerd.snapshotter", ImagesTable, "snapshotter"},
	{"containerd.disable_snapshot_annotations", ImagesTable, "disable_snapshot_annotations"},
	{"containerd.discard_unpacked_layers", ImagesTable, "discard_unpacked_layers"},
	{"disable_tcp_service", ServerTable, "disable_tcp_service"},
	{"stream_server_address", ServerTable, "stream_server_address"},
	{"stream_server_port", ServerTable, "stream_server_port"},
	{"stream_idle_timeout", ServerTable, "stream_idle_timeout"},
	{"enable_tls_streaming", ServerTable, "enable_tls_streaming"},
	{"x509_key_pair_streaming", ServerTable, "x509_key_pair_streaming"},
}

// removedKeys are keys of Runtime that containerd 1.x printed into its default config and that are
// no longer read. They are dropped if they are empty, so that only keys with an effect in the past
// are reported as unknown.
var removedKeys = []string{
	"systemd_cgroup",
	"disable_cgroup",
	"containerd.no_pivot",
	"containerd.default_runtime",
	"containerd.untrusted_workload_runtime",
	"cni.bin_dir",
}

// removedHandlerKeys are such keys of a handler.
var removedHandlerKeys = []string{"runtime_engine", "runtime_root", "sandbox_mode", "options.CriuPath"}

// Migrate moves the CRI's keys of a config.toml of version 3 or older to the tables of this
// package. plugins is the file's plugins table, by plugin URI. Migrate has the signature of a
// containerd plugin's ConfigMigration. If a key is in its new place already, the new one wins. A
// table of another type is errdefs.ErrInvalidArgument.
func Migrate(_ context.Context, version int, plugins map[string]any) error {
	if version >= currentVersion {
		return nil
	}
	tables := map[string]map[string]any{}
	for _, name := range []string{ImagesTable, RuntimeTable, ServerTable} {
		table, ok := plugins[name].(map[string]any)
		if !ok && plugins[name] != nil {
			return fmt.Errorf("%s: is not a table: %w", KeyPath(name), errdefs.ErrInvalidArgument)
		}
		tables[name] = table
	}
	legacy := tables[ServerTable]
	tables[ServerTable] = nil
	for _, key := range moved {
		if v, ok := take(legacy, strings.Split(key.from, ".")); ok {
			tables[key.table] = put(tables[key.table], strings.Split(key.to, "."), v)
		}
	}
	for key, v := range legacy {
		tables[RuntimeTable] = put(tables[RuntimeTable], []string{key}, v)
	}
	renameInRuntime(tables[RuntimeTable])
	for name, table := range tables {
		delete(plugins, name)
		if table != nil {
			plugins[name] = table
		}
	}
	return nil
}

// renameInRuntime renames keys that changed inside the table, in files of version 3, too.
func renameInRuntime(runtime map[string]any) {
	// CDI is always on since containerd 2.0.
	delete(runtime, "enable_cdi")
	if dir := lookup(runtime, []string{"cni", "bin_dir"}); !isEmpty(dir) {
		take(runtime, []string{"cni", "bin_dir"})
		put(runtime, []string{"cni", "bin_dirs"}, []any{dir})
	}
	handlers, _ := lookup(runtime, []string{"containerd", "runtimes"}).(map[string]any)
	for _, v := range handlers {
		handler, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if mode, ok := handler["sandbox_mode"].(string); ok && mode != "" {
			delete(handler, "sandbox_mode")
			put(handler, []string{"sandboxer"}, mode)
		}
		dropEmpty(handler, removedHandlerKeys)
	}
	dropEmpty(runtime, removedKeys)
}

func dropEmpty(table map[string]any, keys []string) {
	for _, key := range keys {
		path := strings.Split(key, ".")
		if isEmpty(lookup(table, path)) {
			take(table, path)
		}
	}
}

// take removes the value at path from table and returns it, if there is one.
func take(table map[string]any, path []string) (any, bool) {
	last := len(path) - 1
	parent, _ := lookup(table, path[:last]).(map[string]any)
	v, ok := parent[path[last]]
	delete(parent, path[last])
	return v, ok
}

// put sets the value at path unless there is one. Two tables are merged key by key in the same way.
// It returns the table, which it creates if it is nil.
func put(table map[string]any, path []string, v any) map[string]any {
	if table == nil {
		table = map[string]any{}
	}
	have, exists := table[path[0]]
	child, isTable := have.(map[string]any)
	if len(path) > 1 {
		if isTable || !exists {
			table[path[0]] = put(child, path[1:], v)
		}
		return table
	}
	if !exists {
		table[path[0]] = v
		return table
	}
	more, moreIsTable := v.(map[string]any)
	if isTable && moreIsTable {
		for key, value := range more {
			put(child, []string{key}, value)
		}
	}
	return table
}

// OldKeys returns the places of a key in older files, from which Migrate moves it: paths in the
// plugins table.
func OldKeys(table string, key []string) [][]string {
	path := strings.Join(key, ".")
	for _, m := range moved {
		if rest, ok := strings.CutPrefix(path, m.to); ok && m.table == table && (rest == "" || rest[0] == '.') {
			old := append(strings.Split(m.from, "."), key[strings.Count(m.to, ".")+1:]...)
			return inOldTables(old)
		}
	}
	if table != RuntimeTable {
		return nil
	}
	if path == "cni.bin_dirs" {
		return append([][]string{{RuntimeTable, "cni", "bin_dir"}}, inOldTables([]string{"cni", "bin_dir"})...)
	}
	return inOldTables(key)
}

// inOldTables returns the key in the table of version 2 and in the table of version 1.
func inOldTables(key []string) [][]string {
	return [][]string{append([]string{ServerTable}, key...), append([]string{"cri"}, key...)}
}
