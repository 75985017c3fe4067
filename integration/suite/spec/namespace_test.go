// SPDX-License-Identifier: Apache-2.0

package spec

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	modePod       = runtimeapi.NamespaceMode_POD
	modeContainer = runtimeapi.NamespaceMode_CONTAINER
	modeNode      = runtimeapi.NamespaceMode_NODE
	modeTarget    = runtimeapi.NamespaceMode_TARGET
)

// namespaceCases are about the namespaces of pods and containers.
func namespaceCases() []podCase {
	modes := func(o *runtimeapi.NamespaceOption) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.NamespaceOptions = o
			if o.Network == modeNode {
				c.Hostname = "" // as the kubelet does
			}
		}
	}
	pid := func(mode runtimeapi.NamespaceMode) func(*runtimeapi.ContainerConfig) {
		return secure(func(sc *securityContext) { sc.NamespaceOptions.Pid = mode })
	}
	return []podCase{
		{name: "host network", change: modes(&runtimeapi.NamespaceOption{Network: modeNode, Pid: modeContainer}), containers: []containerCase{{name: "plain"}}},
		{name: "host ipc", change: modes(&runtimeapi.NamespaceOption{Ipc: modeNode, Pid: modeContainer}), containers: []containerCase{
			{name: "plain"},
			{name: "ipc of the pod", change: secure(func(sc *securityContext) { sc.NamespaceOptions.Ipc = modePod })},
		}},
		{name: "host pid", change: modes(&runtimeapi.NamespaceOption{Pid: modeNode}), containers: []containerCase{
			{name: "host pid"},
			{name: "own pid", change: pid(modeContainer)},
			{name: "pid of the pod", change: pid(modePod)},
		}},
		{name: "all of the host", change: modes(&runtimeapi.NamespaceOption{Network: modeNode, Ipc: modeNode, Pid: modeNode}), containers: []containerCase{{name: "plain"}}},
		{name: "shared pid", change: modes(&runtimeapi.NamespaceOption{Pid: modePod}), containers: []containerCase{
			{name: "shared"},
			{name: "own", change: pid(modeContainer)},
		}},
		{name: "own pid", containers: []containerCase{
			{name: "target", change: command([]string{"sleep", "1000"}, nil), runs: true},
			{name: "debugger", change: pid(modeTarget), target: "target"},
			{name: "pid of the pod", change: pid(modePod)},
			{name: "pid of the host", change: pid(modeNode)},
		}},
		{name: "userns", change: modes(userNamespace(modePod)), containers: []containerCase{
			{name: "plain"},
			{name: "image", image: dressed},
			{name: "read-only root", change: secure(func(sc *securityContext) { sc.ReadonlyRootfs = true })},
			{name: "nothing masked", change: unmasked},
		}},
		{name: "userns with host network", change: modes(userNamespace(modeNode)), containers: []containerCase{{name: "plain"}}},
		{name: "userns of the node", change: modes(&runtimeapi.NamespaceOption{
			Pid: modeContainer, UsernsOptions: &runtimeapi.UserNamespace{Mode: modeNode},
		}), containers: []containerCase{{name: "plain"}}},
	}
}

// unmasked does what the kubelet does for procMount: Unmasked.
func unmasked(c *runtimeapi.ContainerConfig) {
	c.Linux.SecurityContext.MaskedPaths, c.Linux.SecurityContext.ReadonlyPaths = nil, nil
}

// userNamespace returns the options of a pod with its own user namespace.
func userNamespace(network runtimeapi.NamespaceMode) *runtimeapi.NamespaceOption {
	ids := func() []*runtimeapi.IDMapping { return []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}} }
	return &runtimeapi.NamespaceOption{
		Network: network, Pid: modeContainer, UsernsOptions: &runtimeapi.UserNamespace{Mode: modePod, Uids: ids(), Gids: ids()},
	}
}
