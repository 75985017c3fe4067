// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path/filepath"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// deviceCases are about device nodes and CDI devices.
func deviceCases(f fixture) []podCase {
	devices := func(list ...*runtimeapi.Device) func(*runtimeapi.ContainerConfig) {
		return func(c *runtimeapi.ContainerConfig) { c.Devices = list }
	}
	cdi := func(names ...string) func(*runtimeapi.ContainerConfig) {
		return func(c *runtimeapi.ContainerConfig) {
			for _, name := range names {
				c.CDIDevices = append(c.CDIDevices, &runtimeapi.CDIDevice{Name: name})
			}
		}
	}
	return []podCase{{name: "devices", containers: []containerCase{
		{name: "node", change: devices(&runtimeapi.Device{HostPath: "/dev/full", ContainerPath: "/dev/broken", Permissions: "rwm"})},
		{name: "node, read only", change: devices(&runtimeapi.Device{HostPath: "/dev/full", ContainerPath: "/dev/full", Permissions: "r"})},
		{name: "two nodes", change: devices(
			&runtimeapi.Device{HostPath: "/dev/full", ContainerPath: "/dev/a", Permissions: "rw"},
			&runtimeapi.Device{HostPath: "/dev/zero", ContainerPath: "/dev/b", Permissions: "rwm"},
		)},
		{name: "directory", change: devices(&runtimeapi.Device{HostPath: f.devices, ContainerPath: "/dev/many", Permissions: "rw"})},
		{name: "through a link", change: devices(&runtimeapi.Device{
			HostPath: filepath.Join(f.link, "..", "devices", "null"), ContainerPath: "/dev/linked", Permissions: "rw",
		})},
		{name: "for a user", change: func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
			devices(&runtimeapi.Device{HostPath: "/dev/full", ContainerPath: "/dev/full", Permissions: "rw"})(c)
		}},
		{name: "CDI", change: cdi("bench.test/device=one")},
		{name: "CDI, two", change: cdi("bench.test/device=one", "bench.test/device=two")},
		{name: "CDI, unknown", change: cdi("bench.test/device=absent")},
		{name: "CDI by annotation", change: func(c *runtimeapi.ContainerConfig) {
			c.Annotations = map[string]string{"cdi.k8s.io/bench": "bench.test/device=two"}
		}},
	}}}
}
