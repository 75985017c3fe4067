// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// must fails the test on an error of a setup step.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// hostPaths returns a directory with each kind of file that a host path can name.
func hostPaths(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err,
		os.MkdirAll(filepath.Join(dir, "real/sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "file"), nil, 0o644),
		os.Symlink("real", filepath.Join(dir, "link")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
	)
	return dir
}

func TestResolveMounts(t *testing.T) {
	dir := hostPaths(t)
	at := func(p string) string { return filepath.Join(dir, p) }
	for _, c := range []struct {
		name, path string
		missing    Missing
		want       spec.MountSource
		class      func(error) bool
	}{
		{"directory", at("real/sub"), CreateMissing, spec.MountSource{Path: at("real/sub")}, nil},
		{"file", at("file"), RefuseMissing, spec.MountSource{Path: at("file")}, nil},
		{"link", at("link/sub"), CreateMissing, spec.MountSource{Path: at("real/sub")}, nil},
		{"unclean", dir + "//real/../link/./sub/", CreateMissing, spec.MountSource{Path: at("real/sub")}, nil},
		{"missing", at("link/new/er"), CreateMissing, spec.MountSource{Path: at("real/new/er"), Missing: true}, nil},
		{"missing, refused", at("new"), RefuseMissing, spec.MountSource{}, errdefs.IsNotFound},
		{"below a file", at("file/new"), CreateMissing, spec.MountSource{}, errdefs.IsInvalidArgument},
		{"loop of links", at("loop/new"), CreateMissing, spec.MountSource{}, errdefs.IsInvalidArgument},
		{"name too long", at(strings.Repeat("a", 256)), CreateMissing, spec.MountSource{}, errdefs.IsInvalidArgument},
		{"dangling link", at("dangling"), CreateMissing, spec.MountSource{}, errdefs.IsNotFound},
		{"below a dangling link", at("dangling/new"), CreateMissing, spec.MountSource{}, errdefs.IsNotFound},
		{"relative", "real", CreateMissing, spec.MountSource{}, errdefs.IsInvalidArgument},
		{"empty", "", CreateMissing, spec.MountSource{}, errdefs.IsInvalidArgument},
		{"NUL", at("real\x00"), CreateMissing, spec.MountSource{}, errdefs.IsInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ResolveMounts([]*runtimeapi.Mount{{HostPath: c.path}}, c.missing)
			if c.class != nil {
				if !c.class(err) {
					t.Fatalf("sources %v, error %v", got, err)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff([]spec.MountSource{c.want}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMakeMissing(t *testing.T) {
	dir := hostPaths(t)
	sources, err := ResolveMounts([]*runtimeapi.Mount{
		{HostPath: filepath.Join(dir, "file")},
		{HostPath: filepath.Join(dir, "a/b")},
		{Image: &runtimeapi.ImageSpec{Image: "i"}},
	}, CreateMissing)
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Fatal("ResolveMounts created a directory")
	}
	must(t, MakeMissing(sources))
	info, err := os.Stat(filepath.Join(dir, "a/b"))
	must(t, err)
	if !info.IsDir() || info.Mode().Perm() != 0o755 {
		t.Errorf("created %v", info.Mode())
	}
	must(t, os.WriteFile(filepath.Join(dir, "in-the-way"), nil, 0o644))
	if err := MakeMissing([]spec.MountSource{{Path: filepath.Join(dir, "in-the-way/new"), Missing: true}}); err == nil {
		t.Error("no error for a directory below a file")
	}
}

func TestPropagation(t *testing.T) {
	table := []*mountinfo.Info{
		{Mountpoint: "/", Optional: "shared:1"},
		{Mountpoint: "/a", Optional: "shared:2"},
		{Mountpoint: "/a", Optional: ""},
		{Mountpoint: "/a/b", Optional: "shared:3 master:1"},
		{Mountpoint: "/a/slave", Optional: "master:1 propagate_from:2"},
	}
	for _, c := range []struct {
		path          string
		shared, slave bool
	}{
		{"/", true, false},
		{"/ab", true, false},
		{"/a", false, false},
		{"/a/x", false, false},
		{"/a/b/c", true, true},
		{"/a/bc", false, false},
		{"/a/slave", false, true},
	} {
		if shared, slave := propagation(table, c.path); shared != c.shared || slave != c.slave {
			t.Errorf("%s: shared %v, slave %v, want %v, %v", c.path, shared, slave, c.shared, c.slave)
		}
	}
	if shared, slave := propagation(nil, "/a"); shared || slave {
		t.Error("propagation from an empty mount table")
	}
}

func TestResolveMountsPropagation(t *testing.T) {
	needRoot(t)
	dir := hostPaths(t)
	real := filepath.Join(dir, "real")
	must(t, unix.Mount(real, real, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(real, unix.MNT_DETACH)) })
	for _, c := range []struct {
		flag uintptr
		want bool
	}{{unix.MS_SHARED, true}, {unix.MS_PRIVATE, false}} {
		must(t, unix.Mount("", real, "", c.flag, ""))
		got, err := ResolveMounts([]*runtimeapi.Mount{{
			HostPath:    filepath.Join(dir, "link/sub"),
			Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL,
		}}, RefuseMissing)
		must(t, err)
		if got[0].Shared != c.want {
			t.Errorf("source %+v, want shared %v", got[0], c.want)
		}
	}
}
