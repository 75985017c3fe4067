// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const evil = "web:x:666:666::/:/bin/sh\n"

// A link is resolved as for a process in the container: to a file of the image or to nothing, never
// to a file of the host.
func TestUserFileLinks(t *testing.T) {
	host := files(t, map[string]string{"passwd": evil, "etc/passwd": evil})
	up := strings.Repeat("../", 40)
	inside := spec.User{UID: 1000, GID: 1001, Name: "web"}
	for _, test := range []struct {
		name   string
		layout map[string]string
		found  bool
	}{
		{name: "absolute", layout: map[string]string{"etc/passwd": "-> /nix/store/passwd", "nix/store/passwd": testPasswd}, found: true},
		{name: "relative", layout: map[string]string{"etc/passwd": "-> ../nix/passwd", "nix/passwd": testPasswd}, found: true},
		{name: "above the root", layout: map[string]string{"etc/passwd": "-> " + up + "nix/passwd", "nix/passwd": testPasswd}, found: true},
		{name: "chain", layout: map[string]string{"etc": "-> /a", "a": "-> b/../c", "b/x": "", "c/passwd": testPasswd}, found: true},
		{name: "to the host", layout: map[string]string{"etc/passwd": "-> " + host + "/passwd"}},
		{name: "to the host, relative", layout: map[string]string{"etc/passwd": "-> " + up + host + "/passwd"}},
		{name: "directory to the host", layout: map[string]string{"etc": "-> " + host + "/etc"}},
		{name: "through the host", layout: map[string]string{"etc/passwd": "-> /out/passwd", "out": "-> " + host}},
		{name: "dangling", layout: map[string]string{"etc/passwd": "-> /nowhere"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ResolveUser(files(t, test.layout), nil, "web")
			if !test.found {
				if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), `no valid entry for user "web"`) {
					t.Errorf("got %+v and error %v, want an error for a missing user", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(inside, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Any other file in place of /etc/passwd or /etc/group is an error. It is not opened, read without
// a limit or treated as an empty file (CVE-2026-47262).
func TestUserFileKinds(t *testing.T) {
	kinds := map[string]func(path string) error{
		"fifo":      func(path string) error { return unix.Mkfifo(path, 0o644) },
		"socket":    func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o644, 0) },
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"loop":      func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"huge":      func(path string) error { return sparse(path, 2<<30) },
		"large": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("x:x:7:7\n", maxFileBytes/8+1)), 0o644)
		},
		"long line": func(path string) error {
			return os.WriteFile(path, []byte("g:x:1:"+strings.Repeat("user,", 1e6)), 0o644)
		},
	}
	if os.Geteuid() == 0 {
		kinds["zero"] = func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))) }
	}
	for kind, put := range kinds {
		for _, file := range []string{"passwd", "group"} {
			t.Run(kind+" for "+file, func(t *testing.T) {
				content := map[string]string{"etc/passwd": "web:x:1000:1000", "etc/group": testGroup}
				delete(content, "etc/"+file)
				root := files(t, content)
				if err := put(filepath.Join(root, "etc", file)); err != nil {
					t.Fatal(err)
				}
				got, err := ResolveUser(root, nil, "1000")
				if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "/etc/"+file) {
					t.Errorf("got %+v and error %v, want FailedPrecondition that names the file", got, err)
				}
			})
		}
	}
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, []byte("other:x:7:7\n"), 0o644); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

func TestUserFileBelowFile(t *testing.T) {
	if _, err := ResolveUser(files(t, map[string]string{"etc": "not a directory"}), nil, "1000"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("error %v, want FailedPrecondition", err)
	}
}

func TestTooManyGroups(t *testing.T) {
	groups := strings.Repeat("g:x:7:web\n", maxGroups)
	root := files(t, map[string]string{"etc/passwd": testPasswd, "etc/group": groups})
	got, err := ResolveUser(root, nil, "web")
	if err != nil || len(got.AdditionalGIDs) != maxGroups {
		t.Errorf("%d groups and error %v, want %d groups", len(got.AdditionalGIDs), err, maxGroups)
	}
	root = files(t, map[string]string{"etc/passwd": testPasswd, "etc/group": groups + "g:x:8:web\n"})
	if _, err := ResolveUser(root, nil, "web"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("error %v, want FailedPrecondition", err)
	}
}

// A group can have a million members. The allocated memory must not grow with their number.
func TestMemoryIsBounded(t *testing.T) {
	groups := strings.Repeat("g:x:1:"+strings.Repeat(",", maxLineBytes-100)+"\n", 9)
	root := files(t, map[string]string{"etc/passwd": "web:x:1000:1001", "etc/group": groups})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := ResolveUser(root, nil, "1000")
	runtime.ReadMemStats(&after)
	if err != nil || got.Name != "web" {
		t.Fatalf("got %+v and error %v", got, err)
	}
	// The limit covers a copy of the file and the buffer for lines. A slice of the members alone
	// would take 16 MiB for each line.
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 3*maxFileBytes {
		t.Errorf("allocated %d bytes in all, want at most %d", grown, 3*maxFileBytes)
	}
}
