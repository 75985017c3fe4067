// SPDX-License-Identifier: Apache-2.0

package dropin

// known returns the known differences, each with its reason. absent stands for a missing value; for
// the rest of the notation see match.
func known() []difference {
	list := []difference{
		{"features.mountOptions", absent, "true", "mounts have options (KEP-5855), which the built-in does not know"},
		{"*container not started/status.message", `"failed to create containerd task: *"`, `"create task: *"`,
			"the prefix of an error: ours does not repeat that it is an error"},
	}
	list = append(list, knownInfo()...)
	list = append(list, knownConfig()...)
	return append(list, knownPods()...)
}

// knownInfo are the keys that containerd-lite has beside those of the built-in.
func knownInfo() []difference {
	const ours = "an additional key, for a value that the built-in does not report"
	return []difference{
		{"*container */info.info.cgroupsPath", absent, "*", ours},
		{"*container */info.info.runtime", absent, "*", ours},
		{"*pod */info.info.runtimeHandler", absent, "*", ours},
		{"*pod */info.info.state", absent, "*", ours},
		{"*pod */info.info.unfinished", absent, "*", ours},
		{"info.panics", absent, "*", ours},
		{"info.check.*", absent, "*", ours},
		{"info.nri.active", absent, "*", ours},
		{"info.nri.enabled", absent, "*", ours},
		{"info.nri.socket", absent, "*", ours},
		{"info.config.lite.*", absent, "*", ours},
		{"info.config.images.*", absent, "*", ours},
		{"info.config.server.*", absent, "*", ours},
	}
}

func knownConfig() []difference {
	const builtin = "the handler lite has a default config with all options"
	return []difference{
		{"info.config.containerd.runtimes.*.io_type", `""`, `"fifo"`, "the default is filled in, as for sandboxer"},
		{"info.config.containerd.runtimes.lite.options", "null", absent, builtin},
		{"info.config.containerd.runtimes.lite.options.*", absent, "*", builtin},
		{"info.cniconfig.Networks[0].Config.Source", "*cni-loopback*", "*cni-loopback*", "whitespace in JSON"},
	}
}

func knownPods() []difference {
	const (
		noImage  = "a pod has no pause image and so no snapshot"
		loopback = "lo is set up without a CNI plugin, so it has no CNI result"
		asked    = "the config is that of the request; the built-in adds its defaults"
		gone     = "a stopped pod has no task and no spec of a task; only the namespaces remain"
		spec     = "the task of a pod is not a pause container: its spec has a cgroup, namespaces and annotations; a pod init has its own confinement"
	)
	return []difference{
		{"*pod */info.info.image", `"*pause*"`, `""`, noImage},
		{"*pod */info.info.snapshotKey", "*", `""`, noImage},
		{"*pod */info.info.snapshotter", "*", `""`, noImage},
		{"*pod */info.info.runtimeSpec.annotations.io.kubernetes.cri.podsandbox.image-name", "*", absent, noImage},
		{"*pod */info.info.(cniResult|sandboxMetadata.Metadata.CNIResult).(Interfaces.lo.*|DNS[1])", "*", absent, loopback},
		{"*pod */info.info.(config|sandboxMetadata.Metadata.Config).linux.sysctls.net.ipv4.*", "*", absent, asked},
		{"stopped: pod */info.info.runtimeSpec.*", "*", absent, gone},
		{"*pod */info.info.runtimeSpec.(hostname|mounts|process|root|linux.maskedPaths|linux.readonlyPaths|linux.resources|linux.seccomp|linux.sysctl)*",
			"*", "*", spec},
		{"*pod host/info.info.runtimeSpec.linux.namespaces[].path", absent, "string",
			"IPC and UTS namespaces of a pod are pinned to files; on the host network the built-in has none"},
	}
}

// knownImages are the differences of images.
func knownImages() []difference {
	const spec = "the spec has the annotations of the image's manifest and the image's ID"
	return []difference{{"*.spec.image", absent, `"sha256:*"`, spec}}
}
