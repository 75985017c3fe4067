// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/rootfs"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// An image volume is an image that is mounted into a container (KEP-4639). Each
// is a snapshot of its own on top of the image, mounted read-only below the
// container's state directory; it lives and ends with the container. The
// snapshot keeps the image's layers, also when the image is removed, and the
// container keeps the snapshot (runtime.Container.Keeps). Whatever a crash leaves
// mounted is unmounted with the container's directories.

// imageVolume is one that is to be made.
type imageVolume struct {
	index   int // of its mount in the config
	image   image.Image
	subPath string
}

// volumeError is why an image volume could not be made.
type volumeError struct {
	destination string
	cause       error
}

func (e *volumeError) Error() string { return "image volume " + e.destination + ": " + e.cause.Error() }
func (e *volumeError) Unwrap() error { return e.cause }

// kubeletError puts first what the kubelet looks for at the start of a message.
func kubeletError(err error) error {
	var volume *volumeError
	if errors.As(err, &volume) {
		return fmt.Errorf("%w: %w", crierrors.ErrImageVolumeMountFailed, err)
	}
	return err
}

// findImageVolumes finds the images that are to be mounted. It makes nothing.
func (m *Manager) findImageVolumes(ctx context.Context, c *runtimeapi.ContainerConfig) ([]imageVolume, error) {
	var volumes []imageVolume
	for i, wanted := range c.GetMounts() {
		if wanted.GetImage() == nil && wanted.GetImageSubPath() == "" {
			continue
		}
		v, err := m.findImageVolume(ctx, wanted)
		if err != nil {
			return nil, &volumeError{wanted.GetContainerPath(), fmt.Errorf("mounts[%d].%w", i, err)}
		}
		v.index = i
		volumes = append(volumes, v)
	}
	return volumes, nil
}

func (m *Manager) findImageVolume(ctx context.Context, wanted *runtimeapi.Mount) (imageVolume, error) {
	if err := spec.CheckImageMount(wanted); err != nil {
		return imageVolume{}, err
	}
	img, err := m.Images.Resolve(ctx, wanted.GetImage().GetImage())
	if err != nil {
		return imageVolume{}, fmt.Errorf("image: %w", err)
	}
	return imageVolume{image: img, subPath: wanted.GetImageSubPath()}, nil
}

// volumeImages are the ids of the images by the index of their mount.
func volumeImages(volumes []imageVolume) map[int]string {
	ids := make(map[int]string, len(volumes))
	for _, v := range volumes {
		ids[v.index] = v.image.ID
	}
	return ids
}

// mountImageVolumes makes the image volumes of a container and returns the
// sources of their mounts by index.
func (m *Manager) mountImageVolumes(ctx context.Context, req *request) (map[int]string, error) {
	sources := make(map[int]string, len(req.volumes))
	for _, v := range req.volumes {
		source, err := m.mountImageVolume(ctx, req, v)
		if err != nil {
			return nil, &volumeError{req.record.Config.GetMounts()[v.index].GetContainerPath(), err}
		}
		sources[v.index] = source
	}
	return sources, nil
}

func (m *Manager) mountImageVolume(ctx context.Context, req *request, v imageVolume) (string, error) {
	r := req.record
	if err := m.Images.Unpack(ctx, v.image, r.Runtime.Snapshotter); err != nil {
		return "", fmt.Errorf("unpack: %w", err)
	}
	// Not a view: only the lower layers of an overlay can be shown with other ids.
	s := runtime.Snapshot{Key: r.volumeKey(v.index), Snapshotter: r.Runtime.Snapshotter, Parent: v.image.ChainID}
	s.UIDs, s.GIDs = spec.IDMappings(req.pod.Config)
	mounts, err := m.Containerd.PrepareSnapshot(ctx, s)
	if err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	target := filepath.Join(m.Dirs.images(r.ID), strconv.Itoa(v.index))
	if err := os.MkdirAll(target, 0o700); err != nil {
		return "", err
	}
	if err := mount.All(readOnly(mounts), target); err != nil {
		return "", fmt.Errorf("mount %s: %w", v.image.Name(), err)
	}
	if v.subPath == "" {
		return target, nil
	}
	source, err := rootfs.SubPath(target, v.subPath)
	if err != nil {
		return "", fmt.Errorf("image_sub_path: %w", err)
	}
	return source, nil
}

func readOnly(mounts []mount.Mount) []mount.Mount {
	all := slices.Clone(mounts)
	for i, m := range all {
		writable := func(o string) bool { return o == "rw" }
		all[i].Options = append(slices.DeleteFunc(slices.Clone(m.Options), writable), "ro")
	}
	return all
}

// removeImageVolumes takes away the image volumes of a container, as far as
// there are any.
func (m *Manager) removeImageVolumes(ctx context.Context, r *Record) error {
	if err := m.Dirs.unmountImages(r.ID); err != nil {
		return err
	}
	for i := range r.VolumeImages {
		if err := m.Containerd.RemoveSnapshot(ctx, r.Runtime.Snapshotter, r.volumeKey(i)); err != nil {
			return fmt.Errorf("image volume: %w", err)
		}
	}
	return nil
}

// unmountImages takes away what is mounted of images, also what nobody remembers. Who still
// looks at it keeps what he sees: it never changes.
func (d Dirs) unmountImages(id string) error {
	entries, err := os.ReadDir(d.images(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		target := filepath.Join(d.images(id), e.Name())
		if err := mount.UnmountAll(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = append(errs, fmt.Errorf("image volume: unmount %s: %w", target, err))
		}
	}
	return errors.Join(errs...)
}

// volumeKey is the key of an image volume's snapshot.
func (r *Record) volumeKey(index int) string { return r.ID + "-image-" + strconv.Itoa(index) }

// volumeKeys are the keys of all of them.
func (r *Record) volumeKeys() []string {
	var keys []string
	for i := range r.VolumeImages {
		keys = append(keys, r.volumeKey(i))
	}
	slices.Sort(keys)
	return keys
}

// Mounts are the mounts of the container as they were asked for, those of an
// image with the id of the image that was mounted (KEP-5365).
func (r *Record) Mounts() []*runtimeapi.Mount {
	mounts := r.Config.GetMounts()
	if len(r.VolumeImages) == 0 {
		return mounts
	}
	mounts = slices.Clone(mounts)
	for i, id := range r.VolumeImages {
		if i < len(mounts) && mounts[i].GetImage() != nil {
			mounts[i] = proto.CloneOf(mounts[i])
			mounts[i].Image.ImageRef = id
		}
	}
	return mounts
}
