// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	modePod       = runtimeapi.NamespaceMode_POD
	modeContainer = runtimeapi.NamespaceMode_CONTAINER
	modeNode      = runtimeapi.NamespaceMode_NODE
	modeTarget    = runtimeapi.NamespaceMode_TARGET

	namespaceField = "linux.security_context.namespace_options."
)

// checkPodNamespaces refuses modes that are not valid for a pod.
func checkPodNamespaces(modes *runtimeapi.NamespaceOption) error {
	if m := modes.GetNetwork(); m != modePod && m != modeNode {
		return invalid(namespaceField+"network", "%v is not supported (use POD or NODE)", m)
	}
	if m := modes.GetIpc(); m != modePod && m != modeNode {
		return invalid(namespaceField+"ipc", "%v is not supported (use POD or NODE)", m)
	}
	if m := modes.GetPid(); m != modePod && m != modeContainer && m != modeNode {
		return invalid(namespaceField+"pid", "%v is not supported for a pod (use POD, CONTAINER or NODE)", m)
	}
	_, err := userNamespace(modes.GetUsernsOptions())
	return err
}

// namespaces adds the container to the namespaces of its pod. Network, IPC and UTS are those of the
// pod, whatever the options of the container are. The container selects only the PID namespace.
func (b *builder) namespaces() error {
	joinPod(b.spec, b.in.Pod)
	if err := b.pidNamespace(); err != nil {
		return err
	}
	// Without a cgroup namespace, a container on cgroup v2 sees the whole tree of the host. For
	// privileged containers this is intended.
	if b.in.Facts.CgroupV2 && !b.sc.GetPrivileged() {
		setNamespace(b.spec, specs.CgroupNamespace, "")
	} else {
		dropNamespace(b.spec, specs.CgroupNamespace)
	}
	return b.userNamespace()
}

// joinPod sets the namespaces that all processes of a pod share.
func joinPod(s *specs.Spec, pod Pod) {
	modes := pod.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	joinOrShare(s, specs.NetworkNamespace, pod.Namespaces.Net, modes.GetNetwork())
	joinOrShare(s, specs.IPCNamespace, pod.Namespaces.IPC, modes.GetIpc())
	joinOrShare(s, specs.UTSNamespace, pod.Namespaces.UTS, modes.GetNetwork())
	s.Hostname, s.Domainname = "", "" // the joined UTS namespace has the names
	if modes.GetNetwork() != modeNode && pod.Namespaces.UTS == "" {
		s.Hostname = pod.Config.GetHostname()
	}
}

func joinOrShare(s *specs.Spec, kind specs.LinuxNamespaceType, path string, mode runtimeapi.NamespaceMode) {
	if path == "" && mode == modeNode {
		dropNamespace(s, kind)
		return
	}
	setNamespace(s, kind, path)
}

func (b *builder) pidNamespace() error {
	pod := b.podSecurity().GetNamespaceOptions().GetPid()
	switch mode := b.sc.GetNamespaceOptions().GetPid(); {
	case mode == modeTarget:
		if b.in.TargetPID == "" {
			return unmet(namespaceField+"target_id", "there is no running container %q in the pod",
				b.sc.GetNamespaceOptions().GetTargetId())
		}
		setNamespace(b.spec, specs.PIDNamespace, b.in.TargetPID)
	case mode == modeNode && pod != modeNode:
		return invalid(namespaceField+"pid", "NODE, but the pod has %v", pod)
	case mode == modeNode, mode == modePod && pod == modeNode:
		dropNamespace(b.spec, specs.PIDNamespace)
	case mode == modeContainer, mode == modePod && pod == modeContainer:
		setNamespace(b.spec, specs.PIDNamespace, "")
	case mode == modePod:
		if b.in.Pod.Namespaces.PID == "" {
			return unmet(namespaceField+"pid", "the pod's shared PID namespace does not exist any more")
		}
		setNamespace(b.spec, specs.PIDNamespace, b.in.Pod.Namespaces.PID)
	default:
		return invalid(namespaceField+"pid", "%v is unknown", mode)
	}
	return nil
}

func setNamespace(s *specs.Spec, kind specs.LinuxNamespaceType, path string) {
	ns := specs.LinuxNamespace{Type: kind, Path: path}
	if i := slices.IndexFunc(s.Linux.Namespaces, ofKind(kind)); i >= 0 {
		s.Linux.Namespaces[i] = ns
		return
	}
	s.Linux.Namespaces = append(s.Linux.Namespaces, ns)
}

func dropNamespace(s *specs.Spec, kind specs.LinuxNamespaceType) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, ofKind(kind))
}

func ofKind(kind specs.LinuxNamespaceType) func(specs.LinuxNamespace) bool {
	return func(ns specs.LinuxNamespace) bool { return ns.Type == kind }
}

func hasNamespace(s *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, ofKind(kind))
}
