// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodInitPath is the path of the init's binary in its root.
const PodInitPath = "/pod-init"

const (
	// unprivilegedID is the user and group that pause images run as.
	unprivilegedID = 65535
	// When memory runs out, the kernel must not kill the pod's init before the pod's containers
	// (kubernetes#47938). The init needs hardly any CPU.
	podInitOOMScore  = -998
	podInitCPUShares = 2
)

// PodInitInput is the input of [PodInit].
type PodInitInput struct {
	Pod     Pod
	Handler Handler
	Options Options
	Facts   Facts
	SELinux Labels
	// Root is the read-only root of the init, created by host.MakeInitRoot: a path on the host, or
	// the path in the bundle where it is mounted.
	Root string
	// Binary is the host path of the statically linked init.
	Binary string
}

// PodInit returns the runtime spec of a pod init. The init needs no image: its root contains its
// own binary only. The init joins the other namespaces of the pod, owns the PID namespace, and only
// reaps processes: it has no capabilities, no new privileges, containerd's default seccomp profile,
// the AppArmor profile of the pod, and no devices. The spec has no sysctls, because they are set
// when the namespaces are created.
func PodInit(in PodInitInput) (*specs.Spec, error) {
	if err := CheckPod(in.Pod.Config); err != nil {
		return nil, err
	}
	sc := in.Pod.Config.GetLinux().GetSecurityContext()
	ids, err := userNamespace(sc.GetNamespaceOptions().GetUsernsOptions())
	if err != nil {
		return nil, err
	}
	s := defaultSpec(in.Facts)
	s.Version = ociVersion(in.Facts.OCIVersion)
	s.Root = &specs.Root{Path: in.Root, Readonly: true}
	s.Mounts = podInitMounts(in.Binary)
	joinPod(s, in.Pod)
	joinUser(s, in.Pod, ids)
	if s.Linux.CgroupsPath, err = in.Handler.cgroupsPath(in.Pod.Config, in.Pod.ID); err != nil {
		return nil, err
	}
	s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: new(uint64(podInitCPUShares))}
	s.Linux.MountLabel = in.SELinux.Mount
	if sc.GetPrivileged() {
		in.SELinux.Process = ""
	}
	s.Process = podInitProcess(in, sc, ids)
	if s.Process.ApparmorProfile, err = podInitAppArmor(in.Facts, sc); err != nil {
		return nil, err
	}
	if in.Facts.Seccomp {
		s.Linux.Seccomp = seccomp.DefaultProfile(s)
	}
	s.Annotations = allowed(in.Pod.Config.GetAnnotations(), in.Handler.PodAnnotations)
	maps.Copy(s.Annotations, sandboxAnnotations(in.Pod))
	maps.Copy(s.Annotations, in.Handler.runtimeAnnotations())
	return s, nil
}

func podInitProcess(in PodInitInput, sc *runtimeapi.LinuxSandboxSecurityContext, ids idMaps) *specs.Process {
	return &specs.Process{
		Args:            []string{PodInitPath},
		Cwd:             "/",
		User:            podInitUser(sc, ids),
		Capabilities:    &specs.LinuxCapabilities{},
		NoNewPrivileges: true,
		SelinuxLabel:    in.SELinux.Process,
		OOMScoreAdj:     oomScore(podInitOOMScore, in.Facts, in.Options),
	}
}

// podInitAppArmor returns the name of the init's AppArmor profile. As for a container, the caller
// ensures that it is loaded.
func podInitAppArmor(facts Facts, sc *runtimeapi.LinuxSandboxSecurityContext) (string, error) {
	p, err := PodAppArmor(sc)
	if err != nil {
		return "", err
	}
	return p.appArmorName(facts, sc.GetApparmor() != nil)
}

// podInitUser returns the pod's run_as_user and run_as_group. The default is unprivilegedID, or
// root if the user namespace of the pod does not map that id.
func podInitUser(sc *runtimeapi.LinuxSandboxSecurityContext, ids idMaps) specs.User {
	uid, gid := uint32(unprivilegedID), uint32(unprivilegedID)
	if sc.GetRunAsUser() != nil {
		uid, gid = uint32(sc.GetRunAsUser().GetValue()), uint32(sc.GetRunAsGroup().GetValue())
	} else if !ids.empty() && (!mapped(ids.uids, unprivilegedID) || !mapped(ids.gids, unprivilegedID)) {
		uid, gid = 0, 0
	}
	return specs.User{UID: uid, GID: gid, AdditionalGids: []uint32{gid}}
}

// podInitMounts returns /proc, which the runtime checks, a writable /dev over the read-only root,
// and the init's binary.
func podInitMounts(binary string) []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		{Destination: PodInitPath, Type: "bind", Source: binary, Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev"}},
	}
}
