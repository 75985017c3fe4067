// SPDX-License-Identifier: Apache-2.0

package swap

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// podCase is a pod with containers of Busybox.
type podCase struct {
	name      string
	handler   string
	commands  map[string]string // of containers, by name
	ends      bool              // the containers end by themselves
	pod       func(*runtimeapi.PodSandboxConfig)
	container func(*runtimeapi.ContainerConfig)
}

const (
	sleep = "sleep 1000"
	// count prints numbered lines, a hundred in a second.
	count = "i=0; while true; do i=$((i+1)); echo $i; usleep 10000; done"
	// countFast prints a thousand numbered lines of a kilobyte in a second.
	countFast   = "pad=$(printf %01000d 0); i=0; while true; do i=$((i+1)); echo $pad $i; [ $((i%100)) = 0 ] && usleep 100000; done"
	exit9OnTERM = "trap 'exit 9' TERM; while true; do sleep 0.1; done"
)

func userns() *runtimeapi.UserNamespace {
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}}
	return &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: ids, Gids: ids}
}

// cdiSpec describes the device of the pod "cdi".
const cdiSpec = `{"cdiVersion": "0.6.0", "kind": "swap.test/device", "devices": [{"name": "zero", "containerEdits": {
  "env": ["CDI=yes"], "deviceNodes": [{"path": "/dev/cdi-zero", "hostPath": "/dev/zero"}]
}}]}`

// kinds are pods that differ in what an adopting daemon must know of them.
func kinds() []podCase {
	options := func(change func(*runtimeapi.NamespaceOption)) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { change(c.Linux.SecurityContext.NamespaceOptions) }
	}
	return []podCase{
		{name: "network", commands: map[string]string{"main": sleep}},
		{name: "two", commands: map[string]string{"one": sleep, "two": sleep}},
		{name: "host", commands: map[string]string{"main": sleep}, pod: harness.OnHostNetwork},
		{name: "hostport", commands: map[string]string{"main": sleep}, pod: func(c *runtimeapi.PodSandboxConfig) {
			c.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: 18080}}
		}},
		{
			name: "sharedpid", commands: map[string]string{"main": sleep},
			pod: options(func(o *runtimeapi.NamespaceOption) { o.Pid = runtimeapi.NamespaceMode_POD }),
			container: func(c *runtimeapi.ContainerConfig) {
				c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
			},
		},
		{
			name: "hostipc", commands: map[string]string{"main": sleep},
			pod: options(func(o *runtimeapi.NamespaceOption) { o.Ipc = runtimeapi.NamespaceMode_NODE }),
			container: func(c *runtimeapi.ContainerConfig) {
				c.Linux.SecurityContext.NamespaceOptions.Ipc = runtimeapi.NamespaceMode_NODE
			},
		},
		{
			name: "userns", commands: map[string]string{"main": sleep},
			pod: options(func(o *runtimeapi.NamespaceOption) { o.UsernsOptions = userns() }),
			container: func(c *runtimeapi.ContainerConfig) {
				c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = userns()
			},
		},
		{name: "terminal", commands: map[string]string{"main": sleep}, container: func(c *runtimeapi.ContainerConfig) { c.Tty, c.Stdin = true, true }},
		{name: "stdin", commands: map[string]string{"main": exit9OnTERM}, container: func(c *runtimeapi.ContainerConfig) { c.Stdin = true }},
		{name: "othershim", handler: harness.HandlerLite, commands: map[string]string{"main": sleep}},
		{name: "ended", commands: map[string]string{"init": "true", "crashed": "exit 7"}, ends: true},
		{
			name: "killed", commands: map[string]string{"main": "tail /dev/zero"}, ends: true,
			container: func(c *runtimeapi.ContainerConfig) {
				c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 16 << 20}
			},
		},
		{name: "log", commands: map[string]string{"main": count}},
		{name: "fastlog", commands: map[string]string{"main": countFast}},
		{name: "cdi", commands: map[string]string{"main": sleep}, container: func(c *runtimeapi.ContainerConfig) {
			c.CDIDevices = []*runtimeapi.CDIDevice{{Name: "swap.test/device=zero"}}
		}},
		{name: "limits", commands: map[string]string{"main": sleep}, container: func(c *runtimeapi.ContainerConfig) {
			c.Linux.Resources = &runtimeapi.LinuxContainerResources{
				CpuShares: 512, CpuQuota: 50000, CpuPeriod: 100000, MemoryLimitInBytes: 64 << 20, OomScoreAdj: 500,
				HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}},
			}
			c.Annotations = map[string]string{"example.com/a": "b"}
			c.Envs = []*runtimeapi.KeyValue{{Key: "A", Value: []byte("1")}}
		}},
		{name: "volume", commands: map[string]string{"main": sleep}, container: func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{
				{ContainerPath: "/etc-of-host", HostPath: "/etc", Readonly: true},
				{ContainerPath: "/image", Readonly: true, Image: &runtimeapi.ImageSpec{Image: image.Busybox}},
			}
		}},
		{name: "empty"},
	}
}
