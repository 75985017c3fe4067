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

// What `crictl inspect` and `crictl inspectp` show beside the status: all that the built-in CRI
// shows, by its names and in its form, since scripts find a pod's network namespace or a
// container's pid there, and a little of ours. integration/dropin compares the two.

// verbose is the info of a verbose status: one document, as scripts expect it.
func verbose(info any) (map[string]string, error) {
	text, err := json.Marshal(info)
	return map[string]string{"info": string(text)}, err
}

// madeInfo is what pods and containers have in common: of the container in containerd's metadata.
type madeInfo struct {
	PID            uint32      `json:"pid"`
	SnapshotKey    string      `json:"snapshotKey"`
	Snapshotter    string      `json:"snapshotter"`
	RuntimeType    string      `json:"runtimeType"`
	RuntimeOptions any         `json:"runtimeOptions"`
	RuntimeSpec    *specs.Spec `json:"runtimeSpec"`
}

func newMadeInfo(pid uint32, made runtime.Container) madeInfo {
	info := madeInfo{
		PID:            pid,
		Snapshotter:    made.Snapshotter,
		RuntimeType:    made.Runtime,
		RuntimeOptions: made.Options,
		RuntimeSpec:    made.Spec,
	}
	if made.Snapshotter != "" {
		info.SnapshotKey = made.ID
	}
	return info
}

type verboseContainer struct {
	madeInfo
	SandboxID string                      `json:"sandboxID"`
	Removing  bool                        `json:"removing"` // never: a removal ends, or is asked for again
	Config    *runtimeapi.ContainerConfig `json:"config"`

	Handler string `json:"runtime"`
	Cgroup  string `json:"cgroupsPath"`
}

// containerInfo describes a container. Without values, variables of its environment have names
// only.
func containerInfo(r *container.Record, made runtime.Container, values bool) verboseContainer {
	info := verboseContainer{
		madeInfo:  newMadeInfo(r.PID, made),
		SandboxID: r.PodID,
		Config:    r.Config,
		Handler:   r.Runtime.Handler,
		Cgroup:    r.Cgroup,
	}
	if !values {
		info.Config, info.RuntimeSpec = withoutValues(r.Config), withoutEnv(made.Spec)
	}
	return info
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

type verbosePod struct {
	madeInfo
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

// versionedMetadata has the form of the built-in CRI's record of a pod.
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

// podInfo describes a pod. made is the container of its task, which a stopped pod does not have: of
// its spec there are the namespaces then, which is what people look for.
func podInfo(r *pod.Record, made runtime.Container) verbosePod {
	info := verbosePod{
		madeInfo:    newMadeInfo(r.PID, made),
		Status:      processStatus(r),
		NetNSClosed: r.State == pod.Stopped && !r.HostNetwork(),
		Image:       made.Image,
		Config:      r.Config,
		CNIResult:   r.Network.CNI,
		Metadata:    versionedMetadata{Version: "v1", Metadata: newPodMetadata(r)},
		Overhead:    resources(r.Config.GetLinux().GetOverhead()),
		Resources:   resources(r.Config.GetLinux().GetResources()),
		State:       r.State,
		Unfinished:  r.Unfinished,
		Handler:     r.Handler,
	}
	if made.Spec == nil {
		info.RuntimeSpec = &specs.Spec{Linux: &specs.Linux{Namespaces: pinned(r)}}
	}
	return info
}

// processStatus is the state of the pod's task. It follows from the record, as no status waits for
// a shim.
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
