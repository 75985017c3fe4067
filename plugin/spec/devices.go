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

// allAccess is read, write and mknod.
const allAccess = "rwm"

// devices adds the device nodes asked for, and for privileged containers all of the host's. The
// template's rule that denies all other devices stays first; the runtime adds the harmless ones,
// such as /dev/null.
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
			b.addNode(ownedCopy(node))
		}
	}
	if !b.in.Handler.PrivilegedWithoutHostDevices || b.in.Handler.PrivilegedAllDevicesAllowed {
		b.spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: allAccess}}
	}
	return nil
}

// addDevices adds one entry of the CRI: a device node, or the nodes of a directory, which keep
// their place below container_path.
func (b *builder) addDevices(d *runtimeapi.Device, nodes []specs.LinuxDevice) error {
	if err := checkDevice(d); err != nil {
		return err
	}
	for _, n := range nodes {
		n = ownedCopy(n)
		if b.in.Options.DeviceOwnershipFromSecurityContext {
			b.own(&n)
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
		return nil // the same as on the host
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
		return invalid("permissions", "%q is not made of r, w and m", permissions)
	}
	return nil
}

// own gives the node to the user and group of the security context; a zero leaves the host's owner.
func (b *builder) own(n *specs.LinuxDevice) {
	if uid := b.sc.GetRunAsUser().GetValue(); uid != 0 {
		id := uint32(uid)
		n.UID = &id
	}
	if gid := b.sc.GetRunAsGroup().GetValue(); gid != 0 {
		id := uint32(gid)
		n.GID = &id
	}
}

// addNode adds a node unless its path is taken: what was asked for wins over what the host happens
// to have.
func (b *builder) addNode(n specs.LinuxDevice) {
	n.Path = path.Clean(n.Path)
	taken := func(other specs.LinuxDevice) bool { return other.Path == n.Path }
	if !slices.ContainsFunc(b.spec.Linux.Devices, taken) {
		b.spec.Linux.Devices = append(b.spec.Linux.Devices, n)
	}
}

// ownedCopy keeps the result from pointing into the input, which other calls share.
func ownedCopy(n specs.LinuxDevice) specs.LinuxDevice {
	n.FileMode, n.UID, n.GID = copied(n.FileMode), copied(n.UID), copied(n.GID)
	return n
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
