// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"

	"github.com/pelletier/go-toml/v2"
)

// Runtime is the table plugins.'io.containerd.cri.v1.runtime'. Security and Resources only group
// its keys; in config.toml their keys are in this table.
type Runtime struct {
	Security
	Resources
	// MaxContainerLogLineSize is the length in bytes at which a line of a container log is split. 0
	// or less never splits.
	MaxContainerLogLineSize int `toml:"max_container_log_line_size" json:"maxContainerLogLineSize"`
	// NetNSMountsUnderStateDir pins network namespaces in the plugin's state directory instead of
	// /var/run/netns.
	NetNSMountsUnderStateDir bool `toml:"netns_mounts_under_state_dir" json:"netnsMountsUnderStateDir"`
	// DrainExecSyncIOTimeout is how long an exec whose process has exited waits for more output of
	// children that it left running; "0s" means 2 seconds.
	DrainExecSyncIOTimeout Duration `toml:"drain_exec_sync_io_timeout" json:"drainExecSyncIOTimeout"`
	// IgnoreDeprecationWarnings are the ids of deprecations that the Status condition does not
	// report.
	IgnoreDeprecationWarnings []string `toml:"ignore_deprecation_warnings" json:"ignoreDeprecationWarnings"`
	// StatsCollectPeriod is the shortest interval over which UsageNanoCores is measured; unset
	// means 1s. Samples are taken when statistics are requested, not in the background.
	StatsCollectPeriod Duration `toml:"stats_collect_period" json:"statsCollectPeriod"`
	// StatsRetentionPeriod is the longest interval over which UsageNanoCores is measured, and how
	// long CPU samples are kept; unset means 10m.
	StatsRetentionPeriod Duration `toml:"stats_retention_period" json:"statsRetentionPeriod"`
	// EnableCRIU has no effect: checkpoint and restore are not supported, and CheckpointContainer
	// returns Unimplemented.
	EnableCRIU bool `toml:"enable_criu" json:"enableCRIU"`
	// Containerd is the table of the runtime handlers.
	Containerd Containerd `toml:"containerd" json:"containerd"`
	// CNI is the table of the pod network.
	CNI CNI `toml:"cni" json:"cni"`
	// Lite is the table of the keys that the built-in CRI does not have.
	Lite Lite `toml:"lite" json:"lite"`
}

// Lite is the table lite of [Runtime]. containerd's built-in CRI ignores its keys.
type Lite struct {
	// MissingHostPath is what happens to a mount whose host_path does not exist: "create" creates a
	// directory there, as the built-in CRI does; "error" rejects the container, as the CRI
	// specifies.
	MissingHostPath string `toml:"missing_host_path" json:"missingHostPath"`
	// InspectEnvValues shows the values of environment variables in verbose statuses (crictl
	// inspect), as the built-in CRI does. Values are often secrets, and the output of inspect ends
	// up in tickets and logs: by default only names are shown.
	InspectEnvValues bool `toml:"inspect_env_values" json:"inspectEnvValues"`
}

// Values of missing_host_path.
const (
	MissingHostPathCreate = "create"
	MissingHostPathError  = "error"
)

// Security are the keys of [Runtime] about confinement.
type Security struct {
	// EnableSelinux labels containers for SELinux.
	EnableSelinux bool `toml:"enable_selinux" json:"enableSelinux"`
	// SelinuxCategoryRange is the number of MCS categories to draw from; 0 means 1024.
	SelinuxCategoryRange int `toml:"selinux_category_range" json:"selinuxCategoryRange"`
	// DisableApparmor turns off AppArmor: no profile is applied.
	DisableApparmor bool `toml:"disable_apparmor" json:"disableApparmor"`
	// DisableProcMount ignores the masked and read-only paths of a container's security context.
	DisableProcMount bool `toml:"disable_proc_mount" json:"disableProcMount"`
	// UnsetSeccompProfile is the seccomp profile of containers that specify none: unconfined (also
	// when empty), runtime/default or localhost/<path>.
	UnsetSeccompProfile string `toml:"unset_seccomp_profile" json:"unsetSeccompProfile"`
	// DeviceOwnershipFromSecurityContext makes the container's user and group the owner of its
	// devices, instead of the host's owner.
	DeviceOwnershipFromSecurityContext bool `toml:"device_ownership_from_security_context" json:"device_ownership_from_security_context"`
	// EnableUnprivilegedPorts sets net.ipv4.ip_unprivileged_port_start=0 in pods with their own
	// network.
	EnableUnprivilegedPorts bool `toml:"enable_unprivileged_ports" json:"enableUnprivilegedPorts"`
	// EnableUnprivilegedICMP sets net.ipv4.ping_group_range="0 2147483647" in pods with their own
	// network and no user namespace.
	EnableUnprivilegedICMP bool `toml:"enable_unprivileged_icmp" json:"enableUnprivilegedICMP"`
}

// Resources are the keys of [Runtime] about the resources of containers.
type Resources struct {
	// RestrictOOMScoreAdj raises a container's oom_score_adj to the daemon's own if it would be
	// lower, for daemons that are not permitted to lower it.
	RestrictOOMScoreAdj bool `toml:"restrict_oom_score_adj" json:"restrictOOMScoreAdj"`
	// TolerateMissingHugetlbController ignores huge page limits if the cgroup controller is
	// missing.
	TolerateMissingHugetlbController bool `toml:"tolerate_missing_hugetlb_controller" json:"tolerateMissingHugetlbController"`
	// DisableHugetlbController always ignores huge page limits.
	DisableHugetlbController bool `toml:"disable_hugetlb_controller" json:"disableHugetlbController"`
	// IgnoreImageDefinedVolumes creates no volumes for an image's VOLUME entries.
	IgnoreImageDefinedVolumes bool `toml:"ignore_image_defined_volumes" json:"ignoreImageDefinedVolumes"`
	// CDISpecDirs are the directories of Container Device Interface specs; later directories
	// override earlier ones.
	CDISpecDirs []string `toml:"cdi_spec_dirs" json:"cdiSpecDirs"`
}

// Containerd is the table containerd of [Runtime].
type Containerd struct {
	// DefaultRuntimeName is the handler of pods that specify none.
	DefaultRuntimeName string `toml:"default_runtime_name" json:"defaultRuntimeName"`
	// IgnoreBlockIONotEnabledErrors ignores the blockio class of a container, instead of rejecting
	// the container, if no blockio_config_file is configured.
	IgnoreBlockIONotEnabledErrors bool `toml:"ignore_blockio_not_enabled_errors" json:"ignoreBlockIONotEnabledErrors"`
	// IgnoreRdtNotEnabledErrors ignores the RDT class of a container, instead of rejecting the
	// container, if no rdt_config_file is configured.
	IgnoreRdtNotEnabledErrors bool `toml:"ignore_rdt_not_enabled_errors" json:"ignoreRdtNotEnabledErrors"`
	// Runtimes are the handlers by name. The handler of a Kubernetes RuntimeClass is such a name.
	Runtimes map[string]Handler `toml:"runtimes" json:"runtimes"`
}

// CNI is the table cni of [Runtime].
type CNI struct {
	// BinDirs are the directories of CNI plugins.
	BinDirs []string `toml:"bin_dirs" json:"binDirs"`
	// ConfDir is the directory of the network configurations, which are used in the order of their
	// names.
	ConfDir string `toml:"conf_dir" json:"confDir"`
	// MaxConfNum is the number of network configurations that are used; 0 means all.
	MaxConfNum int `toml:"max_conf_num" json:"maxConfNum"`
	// SetupSerially attaches a pod to its networks one after the other.
	SetupSerially bool `toml:"setup_serially" json:"setupSerially"`
	// ConfTemplate is a Go template from which the network configuration is written when the
	// kubelet sends the pod CIDR.
	ConfTemplate string `toml:"conf_template" json:"confTemplate"`
	// IPPref selects a pod's main address: ipv4 (also when empty), ipv6, or cni for the first
	// address of the CNI result.
	IPPref string `toml:"ip_pref" json:"ipPref"`
	// UseInternalLoopback has no effect, it is always on: lo is brought up when a pod's network
	// namespace is created, and the CNI plugin loopback is not run.
	UseInternalLoopback bool `toml:"use_internal_loopback" json:"useInternalLoopback"`
}

// DefaultRuntime returns the table with its defaults.
func DefaultRuntime() Runtime {
	return Runtime{
		Security: Security{
			SelinuxCategoryRange:    1024,
			EnableUnprivilegedPorts: true,
			EnableUnprivilegedICMP:  true,
		},
		Resources: Resources{
			TolerateMissingHugetlbController: true,
			DisableHugetlbController:         true,
			CDISpecDirs:                      []string{"/etc/cdi", "/var/run/cdi"},
		},
		MaxContainerLogLineSize: 16 * 1024,
		DrainExecSyncIOTimeout:  "0s",
		EnableCRIU:              true,
		Containerd: Containerd{
			DefaultRuntimeName: LiteHandler,
			Runtimes: map[string]Handler{
				LiteHandler: defaultHandler(LiteRuntimeType),
				RuncHandler: defaultHandler(RuncRuntimeType),
			},
		},
		CNI: CNI{
			BinDirs:    []string{"/opt/cni/bin"},
			ConfDir:    "/etc/cni/net.d",
			MaxConfNum: 1,
		},
		Lite: Lite{MissingHostPath: MissingHostPathCreate},
	}
}

// Complete sets keys that the file leaves empty. Call it once, after Validate. It reports whether
// the handler lite inherited the settings of the handler runc.
//
// lite inherits if the file configures runc and does not change lite. Such a file was written for
// containerd, where runc is the default handler: its settings (SystemdCgroup, BinaryName,
// base_runtime_spec, …) are meant for every pod that specifies no handler. Here lite runs these
// pods, with the same runc behind another shim.
func (r *Runtime) Complete() (inherited bool) {
	lite, hasLite := r.Containerd.Runtimes[LiteHandler]
	runc, hasRunc := r.Containerd.Runtimes[RuncHandler]
	isDefault := hasLite && sameHandler(lite, defaultHandler(LiteRuntimeType))
	if isDefault && hasRunc && runc.Type == RuncRuntimeType && !sameHandler(runc, defaultHandler(RuncRuntimeType)) {
		runc.Type, runc.Path = LiteRuntimeType, ""
		r.Containerd.Runtimes[LiteHandler] = runc
		inherited = true
	}
	for name, h := range r.Containerd.Runtimes {
		if h.Sandboxer == "" {
			h.Sandboxer = sandboxerPod
		}
		if h.IOType == "" {
			h.IOType = ioFIFO
		}
		r.Containerd.Runtimes[name] = h
	}
	return inherited
}

// sameHandler compares two handlers in their TOML form, in which an empty list and an unset one are
// the same.
func sameHandler(a, b Handler) bool {
	x, errX := toml.Marshal(a)
	y, errY := toml.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
