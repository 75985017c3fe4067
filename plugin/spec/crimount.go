// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
)

const (
	private       = runtimeapi.MountPropagation_PROPAGATION_PRIVATE
	hostToPod     = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	bidirectional = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
)

// requestedMounts are the mounts of the CRI, in its order.
func (b *builder) requestedMounts() ([]specs.Mount, error) {
	var mounts []specs.Mount
	for i, m := range b.in.Config.GetMounts() {
		mount, err := b.requestedMount(m, b.in.Mounts[i])
		if err != nil {
			return nil, fmt.Errorf("mounts[%d].%w", i, err)
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

func (b *builder) requestedMount(m *runtimeapi.Mount, source MountSource) (specs.Mount, error) {
	destination, err := checkPath("container_path", m.GetContainerPath())
	if err != nil {
		return specs.Mount{}, err
	}
	if destination == "/" {
		return specs.Mount{}, invalid("container_path", "a mount cannot replace the root filesystem")
	}
	if err := checkImageMount(m); err != nil {
		return specs.Mount{}, err
	}
	propagation, err := b.propagation(m, source)
	if err != nil {
		return specs.Mount{}, err
	}
	access, err := b.access(m)
	if err != nil {
		return specs.Mount{}, err
	}
	if err := checkMountOptions(m.GetMountOptions()); err != nil {
		return specs.Mount{}, err
	}
	mount := bind(source.Path, destination, append([]string{propagation, access}, m.GetMountOptions()...)...)
	mount.UIDMappings, mount.GIDMappings, err = mountIDs(m)
	return mount, err
}

// checkImageMount applies the rules of image volumes (KEP-4639); the caller has mounted the image and resolved its path.
func checkImageMount(m *runtimeapi.Mount) error {
	switch image := m.GetImage().GetImage(); {
	case image == "" && m.GetImageSubPath() != "":
		return invalid("image_sub_path", "is set without an image")
	case image == "":
		return nil
	case m.GetHostPath() != "":
		return invalid("host_path", "is set beside an image")
	case !m.GetReadonly():
		return invalid("readonly", "an image is always mounted read-only")
	}
	return nil
}

// propagation returns the mount's propagation option and makes the root mount pass events on where it must.
func (b *builder) propagation(m *runtimeapi.Mount, source MountSource) (string, error) {
	switch m.GetPropagation() {
	case private:
		return "rprivate", nil
	case hostToPod:
		if !source.Shared && !source.Slave {
			return "", unmet("propagation", "HOST_TO_CONTAINER needs %s to be on a shared or slave mount", source.Path)
		}
		if b.spec.Linux.RootfsPropagation != "rshared" {
			b.spec.Linux.RootfsPropagation = "rslave"
		}
		return "rslave", nil
	case bidirectional:
		if !b.sc.GetPrivileged() {
			return "", invalid("propagation", "BIDIRECTIONAL is for privileged containers only")
		}
		if !source.Shared {
			return "", unmet("propagation", "BIDIRECTIONAL needs %s to be on a shared mount: mount --make-shared", source.Path)
		}
		b.spec.Linux.RootfsPropagation = "rshared"
		return "rshared", nil
	default:
		return "", invalid("propagation", "%d is unknown", m.GetPropagation())
	}
}

// access returns rw, ro or rro (KEP-3857).
func (b *builder) access(m *runtimeapi.Mount) (string, error) {
	switch {
	case !m.GetReadonly() && !m.GetRecursiveReadOnly():
		return "rw", nil
	case !m.GetRecursiveReadOnly():
		return "ro", nil
	case !m.GetReadonly():
		return "", invalid("recursive_read_only", "the mount is not readonly")
	case m.GetPropagation() != private:
		return "", invalid("recursive_read_only", "needs private propagation, not %v", m.GetPropagation())
	case !b.in.Facts.RecursiveReadOnly:
		return "", fmt.Errorf("recursive_read_only: needs Linux 5.12 and a runtime with the mount option rro: %w: %w",
			crierrors.ErrRROUnsupported, errdefs.ErrFailedPrecondition)
	}
	return "rro", nil
}

// restrictions are the mount_options that only take something away. Their opposites, and options that name propagation, access or
// filesystem data, could undo what the administrator mounted or what other fields of the mount say.
func restrictions() []string {
	return []string{
		"nodev", "nosuid", "noexec", "nosymfollow",
		"noatime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
	}
}

func checkMountOptions(options []string) error {
	for i, o := range options {
		if !slices.Contains(restrictions(), o) {
			return invalid(fmt.Sprintf("mount_options[%d]", i), "%q is not one of %v", o, restrictions())
		}
	}
	return nil
}

func mountIDs(m *runtimeapi.Mount) (uids, gids []specs.LinuxIDMapping, err error) {
	if uids, err = idMapping("uidMappings", m.GetUidMappings()); err != nil {
		return nil, nil, err
	}
	if gids, err = idMapping("gidMappings", m.GetGidMappings()); err != nil {
		return nil, nil, err
	}
	if (len(uids) == 0) != (len(gids) == 0) {
		return nil, nil, invalid("uidMappings", "uidMappings and gidMappings need each other")
	}
	return uids, gids, nil
}
