// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func resolveOne(hostPath, containerPath string) (paths []string, err error) {
	nodes, err := ResolveDevices([]*runtimeapi.Device{{HostPath: hostPath, ContainerPath: containerPath}})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes[0] {
		paths = append(paths, n.Path)
	}
	return paths, nil
}

func TestResolveDevice(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink("/dev/null", link))
	nodes, err := ResolveDevices([]*runtimeapi.Device{{HostPath: link, ContainerPath: "/dev/mine"}, {HostPath: "/dev/zero"}})
	must(t, err)
	null, zero := nodes[0][0], nodes[1][0]
	if null.Path != "/dev/mine" || null.Type != "c" || null.Major != 1 || null.Minor != 3 {
		t.Errorf("%+v is not /dev/null", null)
	}
	if zero.Path != "/dev/zero" || zero.Minor != 5 {
		t.Errorf("%+v is not /dev/zero", zero)
	}
}

func TestResolveDeviceInvalid(t *testing.T) {
	dir := hostPaths(t)
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	for path, class := range map[string]func(error) bool{
		filepath.Join(dir, "file"):     errdefs.IsInvalidArgument,
		fifo:                           errdefs.IsInvalidArgument,
		"dev/null":                     errdefs.IsInvalidArgument,
		"":                             errdefs.IsInvalidArgument,
		filepath.Join(dir, "missing"):  errdefs.IsNotFound,
		filepath.Join(dir, "dangling"): errdefs.IsNotFound,
	} {
		if paths, err := resolveOne(path, "/dev/x"); !class(err) {
			t.Errorf("%q: nodes %v, error %v", path, paths, err)
		}
	}
}

func TestResolveDeviceDirectory(t *testing.T) {
	needRoot(t)
	dir := hostPaths(t)
	must(t,
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		unix.Mknod(filepath.Join(dir, "a"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		unix.Mknod(filepath.Join(dir, "real/sub/b"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))),
	)
	paths, err := resolveOne(dir, "/dev/mine")
	must(t, err)
	if want := []string{"/dev/mine/a", "/dev/mine/real/sub/b"}; !slices.Equal(paths, want) {
		t.Errorf("nodes %v, want %v", paths, want)
	}
}

func TestDevices(t *testing.T) {
	nodes, err := Devices()
	must(t, err)
	for _, n := range nodes {
		if n.Path == "/dev/null" {
			return
		}
	}
	t.Errorf("%d devices without /dev/null", len(nodes))
}

// The walk of a large directory that is not a device directory must stop at the limit.
func TestResolveDeviceHugeDirectory(t *testing.T) {
	dir := t.TempDir()
	for i := range maxDeviceEntries + 1 {
		must(t, os.Symlink("x", filepath.Join(dir, strconv.Itoa(i))))
	}
	if paths, err := resolveOne(dir, "/dev/x"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%d nodes, error %v", len(paths), err)
	}
}
