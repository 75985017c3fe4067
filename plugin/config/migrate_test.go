// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

func TestMigrate(t *testing.T) {
	for _, test := range []struct {
		name, file, want string
		version          int
	}{
		{"current version is left alone", `'io.containerd.grpc.v1.cri'.sandbox_image = "a"`, `'io.containerd.grpc.v1.cri'.sandbox_image = "a"`, 4},
		{"other plugins are left alone", `other.sandbox_image = "a"`, `other.sandbox_image = "a"`, 2},
		{"the new place wins", `
			'io.containerd.grpc.v1.cri' = {sandbox_image = "old", enable_selinux = true, cni = {bin_dir = "/old", conf_dir = "/old"}}
			'io.containerd.cri.v1.images'.pinned_images = {sandbox = "new", other = "o"}
			'io.containerd.cri.v1.runtime' = {enable_selinux = false, cni = {conf_dir = "/new"}}`, `
			'io.containerd.cri.v1.images'.pinned_images = {sandbox = "new", other = "o"}
			'io.containerd.cri.v1.runtime' = {enable_selinux = false, cni = {bin_dirs = ["/old"], conf_dir = "/new"}}`, 3},
		{"an unknown key is kept unless it is empty", `
			'io.containerd.cri.v1.runtime' = {systemd_cgroup = true, containerd.runtimes.a = {runtime_engine = "", sandbox_mode = "shim"}}`, `
			'io.containerd.cri.v1.runtime' = {systemd_cgroup = true, containerd.runtimes.a = {sandboxer = "shim"}}`, 2},
		{"both forms of bin_dirs", `'io.containerd.cri.v1.runtime'.cni = {bin_dir = "", bin_dirs = ["/a"]}`,
			`'io.containerd.cri.v1.runtime'.cni = {bin_dirs = ["/a"]}`, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, want := parse(t, test.file), parse(t, test.want)
			if err := Migrate(context.Background(), test.version, got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, file string) map[string]any {
	t.Helper()
	tables := map[string]any{}
	if err := toml.Unmarshal([]byte(file), &tables); err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestMigrateNoTable(t *testing.T) {
	for _, table := range []string{ImagesTable, RuntimeTable, ServerTable} {
		if err := Migrate(context.Background(), 2, map[string]any{table: 5}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s = 5: %v, want an invalid argument", table, err)
		}
	}
}

// TestOldKeys expects, for each moved key, the place that Migrate takes it from.
func TestOldKeys(t *testing.T) {
	for _, test := range []struct {
		table string
		key   []string
		want  []string
	}{
		{ImagesTable, []string{"pinned_images", "sandbox"}, []string{ServerTable, "sandbox_image"}},
		{ImagesTable, []string{"snapshotter"}, []string{ServerTable, "containerd", "snapshotter"}},
		{ImagesTable, []string{"registry", "mirrors", "a.b"}, []string{ServerTable, "registry", "mirrors", "a.b"}},
		{RuntimeTable, []string{"cni", "bin_dirs"}, []string{RuntimeTable, "cni", "bin_dir"}},
		{RuntimeTable, []string{"containerd", "runtimes", "r", "x"}, []string{ServerTable, "containerd", "runtimes", "r", "x"}},
		{ImagesTable, []string{"use_local_image_pull"}, nil},
		{"io.containerd.gc.v1.scheduler", []string{"x"}, nil},
	} {
		var got []string
		if places := OldKeys(test.table, test.key); len(places) > 0 {
			got = places[0]
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v: want -, got +:\n%s", test.key, diff)
		}
	}
}

// FuzzMigrate checks that Migrate does not panic on any file, and that a second run changes
// nothing.
func FuzzMigrate(f *testing.F) {
	for _, seed := range []string{
		"'io.containerd.grpc.v1.cri' = {sandbox_image = 'a', containerd = {snapshotter = 'b', runtimes = {c = {sandbox_mode = 'd'}}}}",
		"'io.containerd.grpc.v1.cri' = {containerd = 1, cni = []}",
		"'io.containerd.cri.v1.images'.pinned_images = 1\n'io.containerd.grpc.v1.cri'.sandbox_image = {}",
		"'io.containerd.cri.v1.runtime' = {cni = {bin_dir = {}}, containerd.runtimes.a.options = 1}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		once, twice := map[string]any{}, map[string]any{}
		if toml.Unmarshal([]byte(file), &once) != nil || toml.Unmarshal([]byte(file), &twice) != nil {
			return
		}
		if Migrate(context.Background(), 2, once) != nil {
			return
		}
		for version := 2; version < currentVersion; version++ {
			if err := Migrate(context.Background(), version, twice); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("once -, twice +:\n%s", diff)
		}
	})
}
