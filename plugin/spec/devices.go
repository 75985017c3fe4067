// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// allAccess means read, write and mknod.
const allAccess = "rwm"

// devices adds the requested device nodes and, for privileged containers, all device nodes of the
// host. The template's rule that denies all other devices stays first. The runtime adds the default
// devices, such as /dev/null.
func (b *builder) devices() error {
	for i, d := range b.in.Config.GetDevices() {
		if err := b.addDevices(d, b.in.Devices[i]); err != nil {
			return fmt.Errorf("devices[%d].%w", i, err)
		}
	}
	if !b.sc.GetPrivileged() {
		return nil
	}
	if !b.in.Handler.PrivilegedWithoutHostDevices {
		for _, node := range b.in.HostDevices {
			b.addNode(cloneDevice(node))
		}
	}
	if !b.in.Handler.PrivilegedWithoutHostDevices || b.in.Handler.PrivilegedAllDevicesAllowed {
		b.spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: allAccess}}
	}
	return nil
}

// addDevices adds the nodes of one CRI device: a device node, or the nodes of a directory with
// their paths relative to container_path.
func (b *builder) addDevices(d *runtimeapi.Device, nodes []specs.LinuxDevice) error {
	if err := checkDevice(d); err != nil {
		return err
	}
	for _, n := range nodes {
		n = cloneDevice(n)
		if b.in.Options.DeviceOwnershipFromSecurityContext {
			b.setOwner(&n)
		}
		b.addNode(n)
		b.spec.Linux.Resources.Devices = append(b.spec.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow:  true,
			Type:   n.Type,
			Major:  &n.Major,
			Minor:  &n.Minor,
			Access: d.GetPermissions(),
		})
	}
	return nil
}

func checkDevice(d *runtimeapi.Device) error {
	if err := checkPermissions(d.GetPermissions()); err != nil {
		return err
	}
	if d.GetContainerPath() == "" {
		return nil // same path as on the host
	}
	path, err := checkPath("container_path", d.GetContainerPath())
	if path == "/" {
		return invalid("container_path", "a device cannot replace the root filesystem")
	}
	return err
}

func checkPermissions(permissions string) error {
	left := permissions
	for _, p := range allAccess {
		left = strings.Replace(left, string(p), "", 1)
	}
	if permissions == "" || left != "" {
		return invalid("permissions", "%q is not a combination of r, w and m", permissions)
	}
	return nil
}

// setOwner sets the owner of a node to the user and group of the security context. Zero keeps the
// owner of the host.
func (b *builder) setOwner(n *specs.LinuxDevice) {
	if uid := b.sc.GetRunAsUser().GetValue(); uid != 0 {
		id := uint32(uid)
		n.UID = &id
	}
	if gid := b.sc.GetRunAsGroup().GetValue(); gid != 0 {
		id := uint32(gid)
		n.GID = &id
	}
}

// addNode adds a node unless its path is in use: requested devices take precedence over those of
// the host.
func (b *builder) addNode(n specs.LinuxDevice) {
	n.Path = path.Clean(n.Path)
	taken := func(other specs.LinuxDevice) bool { return other.Path == n.Path }
	if !slices.ContainsFunc(b.spec.Linux.Devices, taken) {
		b.spec.Linux.Devices = append(b.spec.Linux.Devices, n)
	}
}

// cloneDevice returns a copy that shares no pointer with the input, which other calls use, too.
func cloneDevice(n specs.LinuxDevice) specs.LinuxDevice {
	n.FileMode, n.UID, n.GID = clonePointer(n.FileMode), clonePointer(n.UID), clonePointer(n.GID)
	return n
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
