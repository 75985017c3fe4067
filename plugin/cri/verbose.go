// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"encoding/json"
	"slices"
	"strings"

	gocni "github.com/containerd/go-cni"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// The info of verbose statuses, for `crictl inspect` and `crictl inspectp`, has all keys of the
// built-in CRI in the same form, because scripts read a pod's network namespace or a container's
// PID from it. A few keys are added. integration/suite/dropin compares the info with that of the
// built-in CRI.

// verbose returns the info of a verbose status: one JSON document, as scripts expect it.
func verbose(info any) (map[string]string, error) {
	text, err := json.Marshal(info)
	return map[string]string{"info": string(text)}, err
}

// inspectedInfo has the keys that pods and containers share. They come from the container in
// containerd's metadata.
type inspectedInfo struct {
	PID            uint32      `json:"pid"`
	SnapshotKey    string      `json:"snapshotKey"`
	Snapshotter    string      `json:"snapshotter"`
	RuntimeType    string      `json:"runtimeType"`
	RuntimeOptions any         `json:"runtimeOptions"`
	RuntimeSpec    *specs.Spec `json:"runtimeSpec"`
}

func newInspectedInfo(pid uint32, inspected runtime.Container) inspectedInfo {
	info := inspectedInfo{
		PID:            pid,
		Snapshotter:    inspected.Snapshotter,
		RuntimeType:    inspected.Runtime,
		RuntimeOptions: inspected.Options,
		RuntimeSpec:    inspected.Spec,
	}
	if inspected.Snapshotter != "" {
		info.SnapshotKey = inspected.ID
	}
	return info
}

type verboseContainer struct {
	inspectedInfo
	SandboxID string `json:"sandboxID"`
	// Removing is always false: the caller retries a removal that failed.
	Removing bool                        `json:"removing"`
	Config   *runtimeapi.ContainerConfig `json:"config"`

	Handler string `json:"runtime"`
	Cgroup  string `json:"cgroupsPath"`
}

// containerInfo describes a container. Unless values is set, environment variables are listed by
// name only.
func containerInfo(r *container.Record, inspected runtime.Container, values bool) verboseContainer {
	info := verboseContainer{
		inspectedInfo: newInspectedInfo(r.PID, inspected),
		SandboxID:     r.PodID,
		Config:        r.Config,
		Handler:       r.Runtime.Handler,
		Cgroup:        r.Cgroup,
	}
	if !values {
		info.Config, info.RuntimeSpec = withoutValues(r.Config), withoutEnv(inspected.Spec)
	}
	return info
}

// withoutValues returns a copy of a config with the names of environment variables only.
func withoutValues(config *runtimeapi.ContainerConfig) *runtimeapi.ContainerConfig {
	shown := proto.CloneOf(config)
	for _, env := range shown.GetEnvs() {
		env.Value = nil
	}
	return shown
}

// withoutEnv returns a copy of a spec with the names of environment variables only.
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

type verbosePod struct {
	inspectedInfo
	Status      string                         `json:"processStatus"`
	NetNSClosed bool                           `json:"netNamespaceClosed"`
	Image       string                         `json:"image"`
	Config      *runtimeapi.PodSandboxConfig   `json:"config"`
	CNIResult   *gocni.Result                  `json:"cniResult"`
	Metadata    versionedMetadata              `json:"sandboxMetadata"`
	Overhead    *runtimeapi.ContainerResources `json:"overhead,omitempty"`
	Resources   *runtimeapi.ContainerResources `json:"resources,omitempty"`

	State      pod.State `json:"state"`
	Unfinished []string  `json:"unfinished"`
	Handler    string    `json:"runtimeHandler"`
}

// versionedMetadata has the form of the built-in CRI's pod record.
type versionedMetadata struct {
	Version  string
	Metadata podMetadata
}

type podMetadata struct {
	ID, Name       string
	Config         *runtimeapi.PodSandboxConfig
	NetNSPath, IP  string
	AdditionalIPs  []string
	RuntimeHandler string
	CNIResult      *gocni.Result
	ProcessLabel   string
}

// podInfo describes a pod. inspected is the container of the pod's task. A stopped pod has none:
// its runtimeSpec has only the pinned namespaces, which are what users look for.
func podInfo(r *pod.Record, inspected runtime.Container) verbosePod {
	info := verbosePod{
		inspectedInfo: newInspectedInfo(r.PID, inspected),
		Status:        processStatus(r),
		NetNSClosed:   r.State == pod.Stopped && !r.HostNetwork(),
		Image:         inspected.Image,
		Config:        r.Config,
		CNIResult:     r.Network.CNI,
		Metadata:      versionedMetadata{Version: "v1", Metadata: newPodMetadata(r)},
		Overhead:      resources(r.Config.GetLinux().GetOverhead()),
		Resources:     resources(r.Config.GetLinux().GetResources()),
		State:         r.State,
		Unfinished:    r.Unfinished,
		Handler:       r.Handler,
	}
	if inspected.Spec == nil {
		info.RuntimeSpec = &specs.Spec{Linux: &specs.Linux{Namespaces: pinned(r)}}
	}
	return info
}

// processStatus returns the state of the pod's task. It is derived from the record, so that a
// status does not wait for a shim.
func processStatus(r *pod.Record) string {
	if r.State == pod.Ready {
		return string(runtime.Running)
	}
	return "deleted"
}

func newPodMetadata(r *pod.Record) podMetadata {
	return podMetadata{
		ID:             r.ID,
		Name:           r.Name,
		Config:         r.Config,
		NetNSPath:      r.Namespaces.Net,
		IP:             r.Network.IP,
		AdditionalIPs:  append([]string(nil), r.Network.AdditionalIPs...), // null for none
		RuntimeHandler: r.Requested,
		CNIResult:      r.Network.CNI,
		ProcessLabel:   r.SELinux.Process,
	}
}

func resources(linux *runtimeapi.LinuxContainerResources) *runtimeapi.ContainerResources {
	if linux == nil {
		return nil
	}
	return &runtimeapi.ContainerResources{Linux: linux}
}

func pinned(r *pod.Record) []specs.LinuxNamespace {
	var found []specs.LinuxNamespace
	for _, ns := range []specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: r.Namespaces.Net},
		{Type: specs.IPCNamespace, Path: r.Namespaces.IPC},
		{Type: specs.UTSNamespace, Path: r.Namespaces.UTS},
		{Type: specs.UserNamespace, Path: r.Namespaces.User},
	} {
		if ns.Path != "" {
			found = append(found, ns)
		}
	}
	return found
}
