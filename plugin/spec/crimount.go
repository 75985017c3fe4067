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

// requestedMounts returns the mounts of the CRI, in the order of the request.
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
	if err := CheckImageMount(m); err != nil {
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
	mount.UIDMappings, mount.GIDMappings, err = b.mountIDs(m)
	return mount, err
}

// CheckImageMount checks a mount of the CRI against the rules of image volumes (KEP-4639). The
// caller mounts the image.
func CheckImageMount(m *runtimeapi.Mount) error {
	switch {
	case m.GetImage() == nil && m.GetImageSubPath() != "":
		return invalid("image_sub_path", "is set without an image")
	case m.GetImage() == nil:
		return nil
	case m.GetImage().GetImage() == "":
		return invalid("image.image", "is empty")
	case m.GetHostPath() != "":
		return invalid("host_path", "is set together with an image")
	case !m.GetReadonly():
		return invalid("readonly", "an image is always mounted read-only")
	case m.GetPropagation() == bidirectional:
		return invalid("propagation", "BIDIRECTIONAL is not supported for an image")
	}
	return nil
}

// propagation returns the propagation option of a mount. If needed, it sets the propagation of the
// root mount, so that mount events reach the container.
func (b *builder) propagation(m *runtimeapi.Mount, source MountSource) (string, error) {
	switch m.GetPropagation() {
	case private:
		return "rprivate", nil
	case hostToPod:
		// An image never has mounts below it.
		if m.GetImage() == nil && !source.Shared && !source.Slave {
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
			return "", unmet("propagation", "BIDIRECTIONAL needs %s to be on a shared mount (mount --make-shared)", source.Path)
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

// allowedMountOptions returns the supported mount_options: those that only restrict a mount
// (KEP-5855).
func allowedMountOptions() []string { return []string{"noexec", "nodev", "nosuid"} }

func checkMountOptions(options []string) error {
	for i, o := range options {
		field := fmt.Sprintf("mount_options[%d]", i)
		if !slices.Contains(allowedMountOptions(), o) {
			return invalid(field, "%q is not one of %v", o, allowedMountOptions())
		}
		if slices.Contains(options[:i], o) {
			return invalid(field, "%q is given twice", o)
		}
	}
	return nil
}

// mountIDs returns the mappings of an id-mapped mount. They must equal those of the pod: with other
// mappings a pod could access files with the ids of another pod. For an image it returns none,
// because the layers are mapped when the image is mounted.
func (b *builder) mountIDs(m *runtimeapi.Mount) (uids, gids []specs.LinuxIDMapping, err error) {
	if uids, err = idMapping("uidMappings", m.GetUidMappings()); err != nil {
		return nil, nil, err
	}
	if gids, err = idMapping("gidMappings", m.GetGidMappings()); err != nil {
		return nil, nil, err
	}
	switch {
	case len(uids)+len(gids) == 0:
		return nil, nil, nil
	case b.ids.empty():
		return nil, nil, invalid("uidMappings", "are set, but the pod has no user namespace")
	case !slices.Equal(uids, b.ids.uids):
		return nil, nil, invalid("uidMappings", "differ from those of the pod's user namespace")
	case !slices.Equal(gids, b.ids.gids):
		return nil, nil, invalid("gidMappings", "differ from those of the pod's user namespace")
	case m.GetImage() != nil:
		return nil, nil, nil
	}
	return uids, gids, nil
}
