// SPDX-License-Identifier: Apache-2.0

package spec

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Input is the input of [Container].
type Input struct {
	// ID is the id of the container, and Config its CRI configuration.
	ID     string
	Config *runtimeapi.ContainerConfig
	Pod    Pod
	Image  Image
	// User is the user that the process starts as, resolved by package rootfs.
	User    User
	Handler Handler
	Options Options
	Facts   Facts
	// Mounts[i] is the resolved source of Config.Mounts[i]; both have the same length. See
	// host.ResolveMounts.
	Mounts []MountSource
	// Volumes are the volumes that the image declares; see package rootfs.
	Volumes []Volume
	// Devices[i] are the device nodes for Config.Devices[i]; both have the same length. See
	// host.ResolveDevices.
	Devices [][]specs.LinuxDevice
	// HostDevices are all device nodes of the host. Only privileged containers get them.
	HostDevices []specs.LinuxDevice
	// SeccompProfile is the JSON of the Localhost profile that [Seccomp] returns; nil for the other
	// profile types.
	SeccompProfile []byte
	SELinux        Labels
	// TargetPID is the path of the PID namespace of the container in target_id, for mode TARGET.
	TargetPID string
}

// Pod is the pod of a container: its configuration and the resources that were created for it.
type Pod struct {
	ID     string
	Config *runtimeapi.PodSandboxConfig
	// Hostname is the name that the pod was created with: that of Config, or the name of the host
	// at that time.
	Hostname   string
	Namespaces Namespaces
	Files      PodFiles
}

// HostIPC reports whether the pod uses the host's IPC namespace, and therefore the host's /dev/shm.
func (p Pod) HostIPC() bool {
	return p.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetIpc() == modeNode
}

// Namespaces are the paths of the namespaces that are pinned for a pod. An empty path means the
// host's namespace if the mode of the pod is NODE, and a new private namespace otherwise. The CRI
// has no mode for UTS: it follows the network mode, as in the built-in CRI.
type Namespaces struct {
	Net, IPC, UTS string
	// PID is only set in pods whose containers share a PID namespace.
	PID string
	// User is only set in pods with a user namespace.
	User string
}

// PodFiles are the host paths of the files that all containers of a pod share. An empty path is not
// mounted.
type PodFiles struct {
	Hostname, Hosts, ResolvConf string
	// Shm is the directory for /dev/shm: a tmpfs of the pod, or the host's /dev/shm if the pod uses
	// the host's IPC namespace.
	Shm string
}

// Image is the container's image.
type Image struct {
	// Name is the image name for annotations if the CRI has no user_specified_image.
	Name   string
	Config ocispec.ImageConfig
}

// User is a user, resolved in the root filesystem of the container.
type User struct {
	UID, GID uint32
	// AdditionalGIDs are the groups that list the user in the image's /etc/group.
	AdditionalGIDs []uint32
	// Name is the user's name in the image's /etc/passwd, or empty. It does not go into the spec.
	Name string
}

// Handler has the keys of a runtime handler (config.toml, containerd.runtimes.<name>) that affect a
// spec.
type Handler struct {
	// BaseSpec is the template from base_runtime_spec; nil for containerd's default.
	BaseSpec *specs.Spec
	// PodAnnotations and ContainerAnnotations are path.Match globs of annotations to pass to the
	// runtime.
	PodAnnotations, ContainerAnnotations []string
	// PrivilegedWithoutHostDevices does not add the host's devices to privileged containers.
	PrivilegedWithoutHostDevices bool
	// PrivilegedAllDevicesAllowed allows all devices in the device cgroup of such containers
	// nevertheless (privileged_without_host_devices_all_devices_allowed).
	PrivilegedAllDevicesAllowed bool
	// CgroupWritable mounts /sys/fs/cgroup read-write in unprivileged containers, too.
	CgroupWritable bool
	// SystemdCgroup is set if the OCI runtime creates cgroups through systemd, which accepts slices
	// only.
	SystemdCgroup bool
}

// Options has the global keys of config.toml that affect a spec.
type Options struct {
	// DisableProcMount ignores masked_paths and readonly_paths of the CRI. The defaults are used
	// instead.
	DisableProcMount bool
	// UnsetSeccompProfile is the profile, in the deprecated string form of the CRI, for containers
	// that request none.
	UnsetSeccompProfile string
	// RestrictOOMScoreAdj raises a lower oom_score_adj to that of the daemon.
	RestrictOOMScoreAdj bool
	// DeviceOwnershipFromSecurityContext sets the owner of device nodes to run_as_user and
	// run_as_group.
	DeviceOwnershipFromSecurityContext bool
	// DisableHugetlb ignores hugepage limits. TolerateMissingHugetlb ignores them if the machine
	// has no hugetlb controller.
	DisableHugetlb, TolerateMissingHugetlb bool
}

// Facts are the properties of the machine and of the handler's OCI runtime that a spec depends on;
// see package host.
type Facts struct {
	// CgroupV2 is set if /sys/fs/cgroup is the unified hierarchy; hybrid counts as v1.
	CgroupV2 bool
	// CgroupMountOptions are options of the host's cgroup2 mount: nsdelegate, memory_recursiveprot.
	// A mount without a cgroup namespace must repeat them, or the kernel clears them for the host.
	CgroupMountOptions []string
	// SwapController and Hugetlb are set if the machine can apply these limits.
	SwapController, Hugetlb bool
	// Seccomp is set if the kernel supports it, AppArmor if the kernel and the configuration enable
	// it.
	Seccomp, AppArmor bool
	// RecursiveReadOnly is set if the kernel (>= 5.12) and the runtime support the mount option
	// rro.
	RecursiveReadOnly bool
	// OOMScoreAdj is the oom_score_adj of the daemon.
	OOMScoreAdj int
	// Capabilities are those that ALL stands for: the capabilities that the daemon has and can pass
	// on.
	Capabilities []string
	// MaskedPaths and ReadonlyPaths are the default paths below /proc and /sys.
	MaskedPaths, ReadonlyPaths []string
	// OCIVersion is the newest ociVersion that the runtime accepts; empty if an old runtime does
	// not report it.
	OCIVersion string
}

// MountSource is the resolved source of a CRI mount.
type MountSource struct {
	// Path is the source with all symbolic links resolved.
	Path string
	// Shared and Slave are the propagation of the mount that contains Path.
	Shared, Slave bool
	// Missing is set if Path does not exist and must be created.
	Missing bool
}

// Volume is a volume that the image declares: a host directory for a path in the container.
type Volume struct {
	Source, Destination string
}

// Labels are the SELinux labels of a container; empty without SELinux.
type Labels struct {
	Process, Mount string
}
