// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"encoding/json"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// What `crictl inspect` and `crictl inspectp` show beside the status, under the names
// that the built-in CRI gives it: scripts find a pod's network namespace or a container's
// pid there.

// verbose is the info of a verbose status: one document, as scripts expect it.
func verbose(info map[string]any) (map[string]string, error) {
	text, err := json.Marshal(info)
	return map[string]string{"info": string(text)}, err
}

// containerInfo tells about a container. The values of its environment stay out:
// they are often secrets, and what inspect prints ends up in tickets and logs.
func containerInfo(r *container.Record, spec *specs.Spec) map[string]any {
	return map[string]any{
		"sandboxID":   r.PodID,
		"pid":         r.PID,
		"snapshotKey": r.ID,
		"snapshotter": r.Runtime.Snapshotter,
		"runtime":     r.Runtime.Handler,
		"cgroupsPath": r.Cgroup,
		"config":      withoutValues(r.Config),
		"runtimeSpec": withoutEnv(spec),
	}
}

// withoutValues returns a config whose environment has names only.
func withoutValues(config *runtimeapi.ContainerConfig) *runtimeapi.ContainerConfig {
	shown := proto.CloneOf(config)
	for _, env := range shown.GetEnvs() {
		env.Value = nil
	}
	return shown
}

// withoutEnv returns a spec whose environment has names only.
func withoutEnv(spec *specs.Spec) *specs.Spec {
	if spec == nil || spec.Process == nil {
		return spec
	}
	shown, process := *spec, *spec.Process
	process.Env = slices.Clone(process.Env)
	for i, env := range process.Env {
		process.Env[i], _, _ = strings.Cut(env, "=")
	}
	shown.Process = &process
	return &shown
}

// podInfo tells about a pod. The container that stands for it says nothing more: the part
// of a spec that is there are the namespaces, which is what people look for.
func podInfo(r *pod.Record) map[string]any {
	var namespaces []specs.LinuxNamespace
	for _, ns := range []specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: r.Namespaces.Net},
		{Type: specs.IPCNamespace, Path: r.Namespaces.IPC},
		{Type: specs.UTSNamespace, Path: r.Namespaces.UTS},
		{Type: specs.UserNamespace, Path: r.Namespaces.User},
	} {
		if ns.Path != "" {
			namespaces = append(namespaces, ns)
		}
	}
	return map[string]any{
		"pid":                r.PID,
		"state":              r.State,
		"unfinished":         r.Unfinished,
		"netNamespaceClosed": r.State == pod.Stopped,
		"runtimeHandler":     r.Handler,
		"config":             r.Config,
		"cniResult":          r.Network.CNI,
		"runtimeSpec":        &specs.Spec{Linux: &specs.Linux{Namespaces: namespaces}},
	}
}
