// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
)

func TestSubPath(t *testing.T) {
	outside := t.TempDir()
	root := filepath.Join(outside, "root")
	must(t,
		os.MkdirAll(filepath.Join(root, "data/sub"), 0o755),
		os.WriteFile(filepath.Join(root, "data/file"), nil, 0o644),
		os.WriteFile(filepath.Join(outside, "secret"), nil, 0o644),
		os.Symlink("data/sub", filepath.Join(root, "link")),
		os.Symlink("../secret", filepath.Join(root, "up")),
		os.Symlink(outside, filepath.Join(root, "abs")),
		os.Symlink("/data", filepath.Join(root, "inside")),
		os.Symlink("loop", filepath.Join(root, "loop")),
		syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644),
	)
	for _, c := range []struct {
		path, want string
		class      func(error) bool
	}{
		{path: "data", want: "data"},
		{path: "data/file", want: "data/file"},
		{path: "link", want: "data/sub"},
		{path: "data/../data/sub/", want: "data/sub"},
		{path: "nothing", class: errdefs.IsNotFound},
		{path: "data/file/below", class: errdefs.IsNotFound},
		{path: "..", class: errdefs.IsInvalidArgument},
		{path: "../secret", class: errdefs.IsInvalidArgument},
		{path: "/data", class: errdefs.IsInvalidArgument},
		{path: "up", class: errdefs.IsInvalidArgument},
		{path: "abs/secret", class: errdefs.IsInvalidArgument},
		{path: "inside", class: errdefs.IsInvalidArgument},
		{path: "loop", class: errdefs.IsInvalidArgument},
		{path: "a\x00b", class: errdefs.IsInvalidArgument},
		{path: "fifo", class: errdefs.IsFailedPrecondition},
	} {
		got, err := SubPath(root, c.path)
		if c.class == nil {
			if err != nil || got != filepath.Join(root, c.want) {
				t.Errorf("SubPath(%q) = %q, %v; want %s", c.path, got, err, c.want)
			}
		} else if !c.class(err) {
			t.Errorf("SubPath(%q) = %q, error of another class: %v", c.path, got, err)
		}
	}
}
