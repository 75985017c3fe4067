// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func declare(paths ...string) map[string]struct{} {
	declared := make(map[string]struct{}, len(paths))
	for _, p := range paths {
		declared[p] = struct{}{}
	}
	return declared
}

// copyOne copies one volume of root and returns its directory.
func copyOne(t *testing.T, root, volume string) (string, error) {
	t.Helper()
	volumes, err := CopyVolumes(t.Context(), root, declare(volume), nil, filepath.Join(t.TempDir(), "volumes"))
	if err != nil {
		return "", err
	}
	if len(volumes) != 1 {
		t.Fatalf("volumes %v, want one", volumes)
	}
	return volumes[0].Source, nil
}

func TestVolumesUnderAMountAreNotCopied(t *testing.T) {
	at := func(paths ...string) (mounts []*runtimeapi.Mount) {
		for _, p := range paths {
			mounts = append(mounts, &runtimeapi.Mount{ContainerPath: p})
		}
		return mounts
	}
	for _, test := range []struct {
		name     string
		declared map[string]struct{}
		mounts   []*runtimeapi.Mount
		want     []string
	}{
		{name: "none", mounts: at("/data")},
		{name: "sorted", declared: declare("/z", "/a", "/m/n", "/m"), want: []string{"/a", "/m", "/m/n", "/z"}},
		{name: "one path in many forms", declared: declare("/data", "/data/", "data", "/x/../data", "//data/."), want: []string{"/data"}},
		{name: "odd names", declared: declare("/:colon", "/C:/dir", "/a b"), want: []string{"/:colon", "/C:/dir", "/a b"}},
		{name: "above the root", declared: declare("/v/../../../../etc"), want: []string{"/etc"}},
		{name: "covered by a mount", declared: declare("/data/", "logs"), mounts: at("//data", "/logs/"), want: nil},
		{name: "mounts above and below", declared: declare("/data/db"), mounts: at("/data", "/data/db/x"), want: []string{"/data/db"}},
		{name: "covered where no volume can be", declared: declare("/proc"), mounts: at("/proc"), want: nil},
		{name: "systemd's", declared: declare("/sys/fs/cgroup"), want: []string{"/sys/fs/cgroup"}},
		{name: "not in /proc", declared: declare("/process"), want: []string{"/process"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "b")
			volumes, err := CopyVolumes(t.Context(), t.TempDir(), test.declared, test.mounts, dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			sources := make(map[string]bool)
			for _, v := range volumes {
				got = append(got, v.Destination)
				sources[v.Source] = true
				if filepath.Dir(v.Source) != dir {
					t.Errorf("source %s is not in %s", v.Source, dir)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if len(sources) != len(volumes) {
				t.Errorf("volumes share a source: %v", volumes)
			}
		})
	}
}

func TestNoVolumes(t *testing.T) {
	many := make(map[string]struct{})
	for i := range maxVolumes + 1 {
		many[fmt.Sprintf("/%d", i)] = struct{}{}
	}
	for name, declared := range map[string]map[string]struct{}{
		"root":         declare("/"),
		"empty":        declare(""),
		"up to root":   declare("/a/.."),
		"proc":         declare("/proc"),
		"in proc":      declare("/sys/../proc/self/attr"),
		"NUL":          declare("/a\x00b"),
		"newline":      declare("/a\nb"),
		"too long":     declare("/" + strings.Repeat("x/", 2048)),
		"one too many": many,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "volumes")
			if got, err := CopyVolumes(t.Context(), t.TempDir(), declared, nil, dir); !errdefs.IsInvalidArgument(err) {
				t.Errorf("got %v and error %v, want InvalidArgument", got, err)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v, want it not created", dir, err)
			}
		})
	}
}

// A link or ".." in the path of a volume is resolved inside the image, and never leads to a file of
// the host (CVE-2022-23648).
func TestVolumeLinks(t *testing.T) {
	host := files(t, map[string]string{"canary": "host", "root/canary": "host"})
	up := strings.Repeat("../", 40)
	for _, test := range []struct {
		name   string
		layout map[string]string
		volume string
		want   string // content of the file canary in the volume, empty for an empty volume
	}{
		{name: "absolute link", layout: map[string]string{"v": "-> /data", "data/canary": "image"}, volume: "/v", want: "image"},
		{name: "relative link", layout: map[string]string{"a/v": "-> ../data", "data/canary": "image"}, volume: "/a/v", want: "image"},
		{name: "link above the root", layout: map[string]string{"v": "-> " + up + "data", "data/canary": "image"}, volume: "/v", want: "image"},
		{name: "link to the root", layout: map[string]string{"v": "-> /", "root/canary": "image"}, volume: "/v/root", want: "image"},
		{name: "path above the root", layout: map[string]string{"etc/canary": "image"}, volume: "/v/../../../etc", want: "image"},
		{name: "to the host", layout: map[string]string{"v": "-> " + host}, volume: "/v"},
		{name: "to the host, relative", layout: map[string]string{"v": "-> " + up + host}, volume: "/v"},
		{name: "through the host", layout: map[string]string{"v": "-> /w/root", "w": "-> " + host}, volume: "/v"},
		{name: "parent on the host", layout: map[string]string{"v": "-> " + host}, volume: "/v/root"},
		{name: "path to the host", layout: map[string]string{"v/x": ""}, volume: "/v/" + up + host},
		{name: "dangling", layout: map[string]string{"v": "-> nowhere"}, volume: "/v"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, err := copyOne(t, files(t, test.layout), test.volume)
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(filepath.Join(dir, "canary"))
			if test.want == "" {
				if entries, _ := os.ReadDir(dir); len(entries) != 0 {
					t.Errorf("volume has %v (canary %q), want nothing", entries, content)
				}
				return
			}
			if string(content) != test.want {
				t.Errorf("canary is %q (%v), want %q", content, err, test.want)
			}
		})
	}
}

func TestVolumeIsNoDirectory(t *testing.T) {
	root := files(t, map[string]string{"file": "text", "loop": "-> loop", "link": "-> file"})
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, volume := range []string{"/file", "/file/below", "/fifo", "/loop", "/link"} {
		if _, err := copyOne(t, root, volume); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), volume) {
			t.Errorf("%s: error %v, want FailedPrecondition that names it", volume, err)
		}
	}
}

func TestVolumeWithoutContent(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir, err := copyOne(t, t.TempDir(), "/not/there")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := fs.ModeDir | 0o755; info.Mode() != want {
		t.Errorf("mode %v, want %v", info.Mode(), want)
	}
}

func TestExistingVolumeIsAnError(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	if _, err := CopyVolumes(t.Context(), root, declare("/data"), nil, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := CopyVolumes(t.Context(), root, declare("/data"), nil, dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want ErrExist", err)
	}
}

// endsAfter is a context that is cancelled after a number of calls of Err.
type endsAfter struct {
	context.Context
	checks int
}

func (c *endsAfter) Err() error {
	if c.checks--; c.checks < 0 {
		return context.Canceled
	}
	return nil
}

func TestCopyEndsWithContext(t *testing.T) {
	root := files(t, map[string]string{"v/small": "text", "v/great": strings.Repeat("x", 2*chunk+1)})
	// Err is called for two files, three parts of the large one and one of the small one. The last
	// call is not counted.
	whole := 5
	for checks := range whole {
		_, err := CopyVolumes(&endsAfter{t.Context(), checks}, root, declare("/v"), nil, t.TempDir())
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d checks: error %v, want Canceled", checks, err)
		}
	}
	if _, err := CopyVolumes(&endsAfter{t.Context(), whole + 1}, root, declare("/v"), nil, t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestCopyIsBoundedInDepth(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "v", strings.Repeat("d/", maxDepth))
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := copyOne(t, root, "/v"); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := os.Mkdir(filepath.Join(deep, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := copyOne(t, root, "/v"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("%d levels: error %v, want FailedPrecondition", maxDepth+1, err)
	}
}

func TestCopyLeavesNothingOpen(t *testing.T) {
	root := files(t, map[string]string{"v/a/b/c/d/file": "x"})
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	// The first look-up of a process leaves a handle of /proc open.
	if _, err := copyOne(t, root, "/v"); err != nil {
		t.Fatal(err)
	}
	dir, before := t.TempDir(), open()
	for checks := range 8 {
		_, err := CopyVolumes(&endsAfter{t.Context(), checks}, root, declare("/v"), nil, filepath.Join(dir, fmt.Sprint(checks)))
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if after := open(); after != before {
			t.Errorf("after a copy that ended at check %d: %d open files, want %d", checks, after, before)
		}
	}
}
