// SPDX-License-Identifier: Apache-2.0

package spec

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Input is all that [Container] needs to know.
type Input struct {
	// ID is the container's id and Config what the CRI asks for.
	ID     string
	Config *runtimeapi.ContainerConfig
	Pod    Pod
	Image  Image
	// User is the resolved user the process starts as; see package rootfs.
	User    User
	Handler Handler
	Options Options
	Facts   Facts
	// Mounts[i] is what the host has for Config.Mounts[i]; both have the same length. See
	// host.ResolveMounts.
	Mounts []MountSource
	// Volumes are the image's own volumes; see package rootfs.
	Volumes []Volume
	// Devices[i] are the device nodes that Config.Devices[i] stands for; both have the same length.
	// See host.ResolveDevices.
	Devices [][]specs.LinuxDevice
	// HostDevices are all device nodes of the host. Only privileged containers get them.
	HostDevices []specs.LinuxDevice
	// SeccompProfile is the JSON of the Localhost profile that [Seccomp] names; nil for the other
	// profile types.
	SeccompProfile []byte
	SELinux        Labels
	// TargetPID is the path of the PID namespace of the container named by target_id, in mode
	// TARGET.
	TargetPID string
}

// Pod is the pod of a container: what was asked for it and what was made for it.
type Pod struct {
	ID     string
	Config *runtimeapi.PodSandboxConfig
	// Hostname is the name that the pod was made with: the one in Config, or else the host's at
	// that time.
	Hostname   string
	Namespaces Namespaces
	Files      PodFiles
}

// HostIPC tells whether the pod uses the host's IPC namespace, and with it the host's /dev/shm.
func (p Pod) HostIPC() bool {
	return p.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetIpc() == modeNode
}

// Namespaces are paths of the namespaces pinned for a pod. An empty path means the host's namespace
// where the pod's mode is NODE and a new private one otherwise. UTS has no mode in the CRI and
// follows the network, as with the built-in CRI.
type Namespaces struct {
	Net, IPC, UTS string
	// PID is only set in pods whose containers share it.
	PID string
	// User is only set in pods with a user namespace.
	User string
}

// PodFiles are host paths of the files that all containers of a pod see. An empty path is not
// mounted.
type PodFiles struct {
	Hostname, Hosts, ResolvConf string
	// Shm is the directory for /dev/shm: the pod's own tmpfs, or the host's /dev/shm where the pod
	// uses the host's IPC namespace.
	Shm string
}

// Image is the container's image.
type Image struct {
	// Name is the name for annotations where the CRI gives no user_specified_image.
	Name   string
	Config ocispec.ImageConfig
}

// User is a user as resolved in the container's root filesystem.
type User struct {
	UID, GID uint32
	// AdditionalGIDs are the groups that list the user in the image's /etc/group.
	AdditionalGIDs []uint32
	// Name is the user's name in the image's /etc/passwd, or empty. It is not part of the spec.
	Name string
}

// Handler holds the keys of one runtime handler (config.toml, containerd.runtimes.<name>) that
// shape a spec.
type Handler struct {
	// BaseSpec is the template from base_runtime_spec; nil for containerd's default.
	BaseSpec *specs.Spec
	// PodAnnotations and ContainerAnnotations are path.Match globs of annotations that are passed
	// to the runtime.
	PodAnnotations, ContainerAnnotations []string
	// PrivilegedWithoutHostDevices keeps the host's devices out of privileged containers.
	PrivilegedWithoutHostDevices bool
	// PrivilegedAllDevicesAllowed lets the device cgroup of such a container allow all devices all
	// the same (privileged_without_host_devices_all_devices_allowed).
	PrivilegedAllDevicesAllowed bool
	// CgroupWritable mounts /sys/fs/cgroup read-write in unprivileged containers too.
	CgroupWritable bool
	// SystemdCgroup says that the OCI runtime makes cgroups through systemd: it takes slices only.
	SystemdCgroup bool
}

// Options holds the plugin-wide keys of config.toml that shape a spec.
type Options struct {
	// DisableProcMount ignores the masked_paths and readonly_paths of the CRI and always uses the
	// defaults.
	DisableProcMount bool
	// UnsetSeccompProfile is the profile, in the CRI's old string form, for containers that name
	// none.
	UnsetSeccompProfile string
	// RestrictOOMScoreAdj raises oom_score_adj to the daemon's own where it asks for less.
	RestrictOOMScoreAdj bool
	// DeviceOwnershipFromSecurityContext gives device nodes to run_as_user and run_as_group.
	DeviceOwnershipFromSecurityContext bool
	// DisableHugetlb ignores hugepage limits; TolerateMissingHugetlb ignores them where the machine
	// has no hugetlb controller.
	DisableHugetlb, TolerateMissingHugetlb bool
}

// Facts is what a spec depends on of the machine and of the handler's OCI runtime; see package
// host.
type Facts struct {
	// CgroupV2 is true with the unified hierarchy at /sys/fs/cgroup; hybrid counts as v1.
	CgroupV2 bool
	// CgroupMountOptions are the options of the host's cgroup2 mount that a mount without cgroup
	// namespace would take away from the host: nsdelegate, memory_recursiveprot.
	CgroupMountOptions []string
	// SwapController and Hugetlb say whether those limits can be set.
	SwapController, Hugetlb bool
	// Seccomp and AppArmor say whether the kernel, and for AppArmor the configuration, has them on.
	Seccomp, AppArmor bool
	// RecursiveReadOnly is true where both the kernel (>= 5.12) and the runtime have the mount
	// option rro.
	RecursiveReadOnly bool
	// OOMScoreAdj is the daemon's own.
	OOMScoreAdj int
	// Capabilities is what "all capabilities" means: those that the daemon has and can hand on.
	Capabilities []string
	// MaskedPaths and ReadonlyPaths are the defaults for /proc and /sys.
	MaskedPaths, ReadonlyPaths []string
	// OCIVersion is the newest ociVersion that the runtime accepts; empty when it does not say, as
	// old runtimes cannot.
	OCIVersion string
}

// MountSource is what the host has for one CRI mount.
type MountSource struct {
	// Path is the source with all symbolic links resolved.
	Path string
	// Shared and Slave tell the propagation of the mount that Path lives on.
	Shared, Slave bool
	// Missing is true where Path does not exist and is still to be made.
	Missing bool
}

// Volume is a volume of the image: a directory of the host for a path of the container.
type Volume struct {
	Source, Destination string
}

// Labels are the SELinux labels of a container; empty without SELinux.
type Labels struct {
	Process, Mount string
}
