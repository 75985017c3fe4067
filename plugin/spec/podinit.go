// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodInitPath is where the init's binary is in its root.
const PodInitPath = "/pod-init"

const (
	// nobody is the user that pause images run as.
	nobody = 65535
	// The pod's init must survive the pod's containers when memory runs out (kubernetes#47938), and
	// needs next to no CPU.
	podInitOOMScore  = -998
	podInitCPUShares = 2
)

// PodInitInput is all that [PodInit] needs to know.
type PodInitInput struct {
	Pod     Pod
	Handler Handler
	Options Options
	Facts   Facts
	SELinux Labels
	// Root is the init's read-only root, made by host.MakeInitRoot: its path on the host, or where
	// in the bundle it is mounted.
	Root string
	// Binary is the host path of the statically linked init.
	Binary string
}

// PodInit returns the runtime spec of the init of a pod whose containers share one PID namespace.
// It needs no image: its root holds nothing but its own binary. It joins the pod's namespaces, owns
// the PID namespace, and may do nothing but reap: no capabilities, no new privileges, containerd's
// default seccomp profile, the pod's AppArmor profile, no devices. Sysctls are not its task:
// whoever makes the namespaces sets them.
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

// podInitAppArmor is the name of the init's profile; that it is loaded is the caller's to see to,
// as for a container.
func podInitAppArmor(facts Facts, sc *runtimeapi.LinuxSandboxSecurityContext) (string, error) {
	p, err := PodAppArmor(sc)
	if err != nil {
		return "", err
	}
	return p.appArmorName(facts, sc.GetApparmor() != nil)
}

// podInitUser is the pod's run_as_user and run_as_group, or nobody where the pod's user namespace
// has such a user.
func podInitUser(sc *runtimeapi.LinuxSandboxSecurityContext, ids idMaps) specs.User {
	uid, gid := uint32(nobody), uint32(nobody)
	if sc.GetRunAsUser() != nil {
		uid, gid = uint32(sc.GetRunAsUser().GetValue()), uint32(sc.GetRunAsGroup().GetValue())
	} else if !ids.empty() && (!mapped(ids.uids, nobody) || !mapped(ids.gids, nobody)) {
		uid, gid = 0, 0
	}
	return specs.User{UID: uid, GID: gid, AdditionalGids: []uint32{gid}}
}

// podInitMounts has /proc for the runtime's own checks and a /dev that hides that the root is
// read-only.
func podInitMounts(binary string) []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		{Destination: PodInitPath, Type: "bind", Source: binary, Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev"}},
	}
}
