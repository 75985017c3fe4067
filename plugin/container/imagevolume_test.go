// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
)

// volumeConfig returns the configuration of a container with an image volume and a bind mount.
func volumeConfig(subPath string) *runtimeapi.ContainerConfig {
	c := containerConfig("app")
	c.Mounts = []*runtimeapi.Mount{
		{HostPath: "/tmp", ContainerPath: "/tmp"},
		{ContainerPath: "/models", Image: &runtimeapi.ImageSpec{Image: "busybox"}, ImageSubPath: subPath, Readonly: true},
	}
	return c
}

// newVolumeNode returns a fake node whose snapshots contain one file.
func newVolumeNode(t *testing.T) *fakeNode {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	layer := t.TempDir()
	if err := os.WriteFile(filepath.Join(layer, "weights"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFakeNode()
	f.Rootfs = []mount.Mount{{Type: "bind", Source: layer, Options: []string{"rbind", "rw"}}}
	return f
}

func TestImageVolume(t *testing.T) {
	f := newVolumeNode(t)
	dir := t.TempDir()
	m := newManager(t, f, dir)
	id, err := m.Create(t.Context(), "pod1", volumeConfig("weights"))
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(m.Dirs.Container(id).Images(), "1")
	if diff := cmp.Diff(map[int]string{1: filepath.Join(target, "weights")}, f.made.Images); diff != "" {
		t.Errorf("sources of the mounts (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(target, "weights"), nil, 0o644); err == nil {
		t.Error("the image can be written to")
	}
	if diff := cmp.Diff([]string{id + "-image-1"}, f.Created.Keeps); diff != "" {
		t.Errorf("snapshots that the container keeps (-want +got):\n%s", diff)
	}

	// After a restart the daemon knows the image volume and removes it.
	m = recoveredManager(t, f, dir)
	r := record(t, m, id)
	if ref := r.Mounts()[1].Image.ImageRef; ref != "sha256:1" {
		t.Errorf("image_ref of the mount = %q", ref)
	}
	if ref := r.Config.Mounts[1].Image.ImageRef; ref != "" {
		t.Errorf("the request was changed: image_ref %q", ref)
	}
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
	checkUnmounted(t, dir)
}

func checkUnmounted(t *testing.T, dir string) {
	t.Helper()
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range left {
		t.Errorf("left: mount at %s", m.Mountpoint)
	}
}

// Each step after the mount fails in turn: nothing is left.
func TestImageVolumeIsRolledBack(t *testing.T) {
	for _, step := range []string{"make spec", "create container"} {
		t.Run(step, func(t *testing.T) {
			f, dir := newVolumeNode(t), t.TempDir()
			m := newManager(t, f, dir)
			f.Fail(step, errBroken)
			if _, err := m.Create(t.Context(), "pod1", volumeConfig("")); !errors.Is(err, errBroken) {
				t.Fatalf("Create = %v", err)
			}
			checkLeft(t, f, m)
			checkUnmounted(t, dir)
		})
	}
}

// If the daemon is killed during a create, a mount is left that no record lists.
func TestRecoverUnmountsStrayImages(t *testing.T) {
	f, dir := newVolumeNode(t), t.TempDir()
	m := newManager(t, f, dir)
	if _, err := m.Create(t.Context(), "pod1", volumeConfig("")); err != nil {
		t.Fatal(err)
	}
	f = newFakeNode()
	m = recoveredManager(t, f, dir)
	checkLeft(t, f, m)
	checkUnmounted(t, dir)
}

// An invalid image volume is rejected before anything is created. The error starts with the text
// that the kubelet expects.
func TestBadImageVolumes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*runtimeapi.Mount)
		class  func(error) bool
	}{
		"no image":        {func(m *runtimeapi.Mount) { m.Image.Image = "" }, errdefs.IsInvalidArgument},
		"image not here":  {func(m *runtimeapi.Mount) { m.Image.Image = "absent" }, errdefs.IsNotFound},
		"writable":        {func(m *runtimeapi.Mount) { m.Readonly = false }, errdefs.IsInvalidArgument},
		"host path":       {func(m *runtimeapi.Mount) { m.HostPath = "/tmp" }, errdefs.IsInvalidArgument},
		"sub path alone":  {func(m *runtimeapi.Mount) { m.Image, m.ImageSubPath = nil, "etc" }, errdefs.IsInvalidArgument},
		"bidirectional":   {func(m *runtimeapi.Mount) { m.Propagation = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL }, errdefs.IsInvalidArgument},
		"not an image id": {func(m *runtimeapi.Mount) { m.Image.Image = "absent\n" }, errdefs.IsNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			config := volumeConfig("")
			c.change(config.Mounts[1])
			_, err := m.Create(t.Context(), "pod1", config)
			if !c.class(err) || !errors.Is(err, crierrors.ErrImageVolumeMountFailed) {
				t.Errorf("Create = %v", err)
			}
			if !strings.HasPrefix(err.Error(), crierrors.ErrImageVolumeMountFailed.Error()) {
				t.Errorf("error without the prefix that the kubelet expects: %q", err)
			}
			if trace := f.Trace(); trace != "" {
				t.Errorf("steps of a rejected request:\n%s", trace)
			}
		})
	}
}
