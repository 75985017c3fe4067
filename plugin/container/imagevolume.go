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

// An image volume is an image that is mounted into a container (KEP-4639). It is a snapshot on top
// of the image, mounted read-only below the container's state directory, and is removed with the
// container. The snapshot keeps the image's layers, even if the image is removed, and the container
// keeps the snapshot (runtime.Container.Keeps). A mount that a crash left behind is unmounted when
// the container's directories are removed.

// imageVolumes creates and removes image volumes.
type imageVolumes struct {
	images     Images
	containerd Containerd
	dirs       Dirs
}

// imageVolume is an image volume to be created.
type imageVolume struct {
	index   int // of its mount in the config
	image   image.Image
	subPath string
}

// volumeError is the error of an image volume that was not created.
type volumeError struct {
	destination string
	cause       error
}

func (e *volumeError) Error() string { return "image volume " + e.destination + ": " + e.cause.Error() }
func (e *volumeError) Unwrap() error { return e.cause }

// kubeletError prefixes the error of an image volume with the text that the kubelet expects at the
// start of the message.
func kubeletError(err error) error {
	var volume *volumeError
	if errors.As(err, &volume) {
		return fmt.Errorf("%w: %w", crierrors.ErrImageVolumeMountFailed, err)
	}
	return err
}

// find resolves the images that are to be mounted. It changes nothing.
func (vs imageVolumes) find(ctx context.Context, c *runtimeapi.ContainerConfig) ([]imageVolume, error) {
	var volumes []imageVolume
	for i, wanted := range c.GetMounts() {
		if wanted.GetImage() == nil && wanted.GetImageSubPath() == "" {
			continue
		}
		v, err := vs.findOne(ctx, wanted)
		if err != nil {
			return nil, &volumeError{wanted.GetContainerPath(), fmt.Errorf("mounts[%d].%w", i, err)}
		}
		v.index = i
		volumes = append(volumes, v)
	}
	return volumes, nil
}

func (vs imageVolumes) findOne(ctx context.Context, wanted *runtimeapi.Mount) (imageVolume, error) {
	if err := spec.CheckImageMount(wanted); err != nil {
		return imageVolume{}, err
	}
	img, err := vs.images.Resolve(ctx, wanted.GetImage().GetImage())
	if err != nil {
		return imageVolume{}, fmt.Errorf("image: %w", err)
	}
	return imageVolume{image: img, subPath: wanted.GetImageSubPath()}, nil
}

// volumeImages returns the IDs of the images by the index of their mount.
func volumeImages(volumes []imageVolume) map[int]string {
	ids := make(map[int]string, len(volumes))
	for _, v := range volumes {
		ids[v.index] = v.image.ID
	}
	return ids
}

// mount creates the image volumes of a container and returns their host paths by the index of the
// mount.
func (vs imageVolumes) mount(ctx context.Context, req *request) (map[int]string, error) {
	sources := make(map[int]string, len(req.volumes))
	for _, v := range req.volumes {
		source, err := vs.mountOne(ctx, req, v)
		if err != nil {
			return nil, &volumeError{req.record.Config.GetMounts()[v.index].GetContainerPath(), err}
		}
		sources[v.index] = source
	}
	return sources, nil
}

func (vs imageVolumes) mountOne(ctx context.Context, req *request, v imageVolume) (string, error) {
	r := req.record
	if err := vs.images.Unpack(ctx, v.image, r.Runtime.Snapshotter); err != nil {
		return "", fmt.Errorf("unpack: %w", err)
	}
	// An active snapshot, not a view: only the lower layers of an overlay can be mapped to other
	// IDs.
	s := runtime.Snapshot{Key: r.volumeKey(v.index), Snapshotter: r.Runtime.Snapshotter, Parent: v.image.ChainID}
	s.UIDs, s.GIDs = spec.IDMappings(req.pod.Config)
	mounts, err := vs.containerd.PrepareSnapshot(ctx, s)
	if err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	target := filepath.Join(vs.dirs.Container(r.ID).Images(), strconv.Itoa(v.index))
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

// remove unmounts and removes the image volumes of a container, if it has any.
func (vs imageVolumes) remove(ctx context.Context, r *Record) error {
	if err := vs.dirs.unmountImages(r.ID); err != nil {
		return err
	}
	for i := range r.VolumeImages {
		if err := vs.containerd.RemoveSnapshot(ctx, r.Runtime.Snapshotter, r.volumeKey(i)); err != nil {
			return fmt.Errorf("image volume: %w", err)
		}
	}
	return nil
}

// unmountImages unmounts all images of a container, also those that its record does not list. The
// unmount is lazy: a process that still uses a mount keeps its view, which never changes.
func (d Dirs) unmountImages(id string) error {
	dir := d.Container(id).Images()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		target := filepath.Join(dir, e.Name())
		if err := mount.UnmountAll(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = append(errs, fmt.Errorf("image volume: unmount %s: %w", target, err))
		}
	}
	return errors.Join(errs...)
}

// volumeKey returns the key of an image volume's snapshot.
func (r *Record) volumeKey(index int) string { return r.ID + "-image-" + strconv.Itoa(index) }

// volumeKeys returns the keys of the snapshots of all image volumes, sorted.
func (r *Record) volumeKeys() []string {
	var keys []string
	for i := range r.VolumeImages {
		keys = append(keys, r.volumeKey(i))
	}
	slices.Sort(keys)
	return keys
}

// Mounts returns the mounts of the request. The mount of an image contains the ID of the mounted
// image (KEP-5365).
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
