// SPDX-License-Identifier: Apache-2.0

package dropin

// known are the answers that differ, each with its reason. absent stands for a value that is not
// there; the rest of the notation is that of match.
func known() []difference {
	list := []difference{
		{"features.mountOptions", absent, "true", "mounts have options (KEP-5855), which the built-in does not know"},
		{"*container not started/status.message", `"failed to create containerd task: *"`, `"create task: *"`,
			"the first words of an error: ours do not say twice that it is one"},
	}
	list = append(list, knownInfo()...)
	list = append(list, knownConfig()...)
	return append(list, knownPods()...)
}

// knownInfo are the keys that containerd-lite has beside those of the built-in.
func knownInfo() []difference {
	const ours = "one more key: it says what the built-in has no name for"
	return []difference{
		{"*container */info.info.cgroupsPath", absent, "*", ours},
		{"*container */info.info.runtime", absent, "*", ours},
		{"*pod */info.info.runtimeHandler", absent, "*", ours},
		{"*pod */info.info.state", absent, "*", ours},
		{"*pod */info.info.unfinished", absent, "*", ours},
		{"info.panics", absent, "*", ours},
		{"info.config.lite.*", absent, "*", ours},
		{"info.config.images.*", absent, "*", ours},
		{"info.config.server.*", absent, "*", ours},
	}
}

func knownConfig() []difference {
	const builtin = "the handler lite is built in, with every option spelled out"
	return []difference{
		{"info.config.containerd.runtimes.*.io_type", `""`, `"fifo"`, "the default is spelled out, as that of sandboxer is"},
		{"info.config.containerd.runtimes.lite.options", "null", absent, builtin},
		{"info.config.containerd.runtimes.lite.options.*", absent, "*", builtin},
		{"info.cniconfig.Networks[0].Config.Source", "*cni-loopback*", "*cni-loopback*", "spaces in JSON"},
	}
}

func knownPods() []difference {
	const (
		noImage  = "a pod has no pause image, and so no snapshot"
		loopback = "lo is up without a CNI plugin, so there is no result of one"
		asked    = "the config is what the request had; the built-in writes its defaults into it"
		gone     = "a stopped pod has no task and no spec of it: what is left of the spec are the namespaces"
		spec     = "the task of a pod is not a pause container: it has a cgroup, namespaces and annotations, and an init its own confinement"
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
			"IPC and UTS namespaces of a pod are pinned to files; on the host's network the built-in's have none"},
	}
}

// knownImages are the differences of images.
func knownImages() []difference {
	const spec = "the annotations of the image's manifest are in its spec, beside its id"
	return []difference{{"*.spec.image", absent, `"sha256:*"`, spec}}
}
