// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"encoding/json"
	"strings"
	"testing"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// shown decodes the info of a verbose status.
func shown(t *testing.T, info, into any) (text string) {
	t.Helper()
	answer, err := verbose(info)
	if err == nil {
		err = json.Unmarshal([]byte(answer["info"]), into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer["info"]
}

func TestContainerInfoHasNoEnvironment(t *testing.T) {
	r := testContainer()
	spec := &specs.Spec{Process: &specs.Process{Args: []string{"top"}, Env: []string{"PATH=/bin", "PASSWORD=hunter2"}}}
	var info struct {
		Config struct {
			Envs []struct{ Key, Value string }
		}
		RuntimeSpec struct {
			Process struct{ Args, Env []string }
		}
	}
	if text := shown(t, containerInfo(r, runtime.Container{Spec: spec}, false), &info); strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
		t.Errorf("the secret is in %s", text)
	}
	if diff := cmp.Diff([]string{"PATH", "PASSWORD"}, info.RuntimeSpec.Process.Env); diff != "" {
		t.Errorf("env of the spec (-want +got):\n%s", diff)
	}
	if envs := info.Config.Envs; len(envs) != 1 || envs[0].Key != "PASSWORD" {
		t.Errorf("env of the config = %v", envs)
	}
	if info.RuntimeSpec.Process.Args[0] != "top" {
		t.Errorf("args = %v", info.RuntimeSpec.Process.Args)
	}
	if string(r.Config.Envs[0].Value) != "hunter2" || spec.Process.Env[1] != "PASSWORD=hunter2" {
		t.Error("the record or the spec itself was changed")
	}
	if text := shown(t, containerInfo(r, runtime.Container{Spec: spec}, true), &info); strings.Count(text, "hunter2") != 2 {
		t.Errorf("with inspect_env_values the values are not in %s", text)
	}
}

// builtIn are the keys of the built-in CRI for containers and for pods. integration/suite/dropin
// compares their values.
var builtIn = map[string]any{
	"sandboxID pid removing snapshotKey snapshotter runtimeType runtimeOptions config runtimeSpec":                                               containerInfo(testContainer(), runtime.Container{}, false),
	"pid processStatus netNamespaceClosed image snapshotKey snapshotter runtimeType runtimeOptions config runtimeSpec cniResult sandboxMetadata": podInfo(testPod(), runtime.Container{}),
}

func TestInfoHasTheKeysOfTheBuiltInCRI(t *testing.T) {
	for keys, info := range builtIn {
		found := map[string]any{}
		shown(t, info, &found)
		for key := range strings.FieldsSeq(keys) {
			if _, ok := found[key]; !ok {
				t.Errorf("%T: %s is missing", info, key)
			}
		}
	}
}

func TestInfoOfTheInspectedContainer(t *testing.T) {
	inspected := runtime.Container{ID: "c1234", Runtime: "io.containerd.lite.v2", Options: &runcoptions.Options{SystemdCgroup: true}, Snapshotter: "overlayfs"}
	want := map[string]any{
		"snapshotKey": "c1234", "snapshotter": "overlayfs", "runtimeType": "io.containerd.lite.v2",
		"runtimeOptions": map[string]any{"systemd_cgroup": true},
	}
	found := map[string]any{}
	shown(t, containerInfo(testContainer(), inspected, false), &found)
	for key, value := range want {
		if diff := cmp.Diff(value, found[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

func TestInfoOfAPod(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pod.Record)
		status string
		closed bool
	}{
		"ready":                        {func(*pod.Record) {}, "running", false},
		"stopped":                      {func(r *pod.Record) { r.State = pod.Stopped }, "deleted", true},
		"stopped, on the host network": {func(r *pod.Record) { r.State = pod.Stopped; onHostNetwork(r) }, "deleted", false},
	} {
		r := testPod()
		tc.change(r)
		var info struct {
			ProcessStatus      string
			NetNamespaceClosed bool
			SandboxMetadata    struct {
				Version  string
				Metadata struct {
					ID, IP         string
					AdditionalIPs  []string
					RuntimeHandler string
					Config         struct{ Metadata struct{ Name string } }
				}
			}
		}
		text := shown(t, podInfo(r, runtime.Container{}), &info)
		if info.ProcessStatus != tc.status || info.NetNamespaceClosed != tc.closed {
			t.Errorf("%s: %s", name, text)
		}
		m := info.SandboxMetadata.Metadata
		if info.SandboxMetadata.Version != "v1" || m.ID != "p1234" || m.IP != "10.0.0.2" || len(m.AdditionalIPs) != 1 || m.RuntimeHandler != "lite" || m.Config.Metadata.Name != "web" {
			t.Errorf("%s: sandboxMetadata in %s", name, text)
		}
	}
}

func onHostNetwork(r *pod.Record) {
	r.Config.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
	}}
}

// Scripts get the network namespace of a pod from crictl inspectp with jq
// '.info.runtimeSpec.linux.namespaces[] | select(.type == "network").path'
func TestPodInfoHasTheNamespaces(t *testing.T) {
	r := testPod()
	r.Namespaces = network.Namespaces{Net: "/run/netns/x", UTS: "/run/uts/x"}
	r.PID = 42
	var info struct {
		PID         int
		Config      struct{ Metadata struct{ Name string } }
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct{ Type, Path string }
			}
		}
	}
	shown(t, podInfo(r, runtime.Container{}), &info)
	want := []struct{ Type, Path string }{{"network", "/run/netns/x"}, {"uts", "/run/uts/x"}}
	if diff := cmp.Diff(want, info.RuntimeSpec.Linux.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if info.PID != 42 || info.Config.Metadata.Name != "web" {
		t.Errorf("info = %+v", info)
	}
}

func TestPodStatusHasItsContainersNewestFirst(t *testing.T) {
	c := dial(t, withSomePods(t))
	answer, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: "aaa1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ids(answer.GetContainersStatuses(), (*runtimeapi.ContainerStatus).GetId), " "); got != "ccb2 cca1" {
		t.Errorf("containers = %s, want those of the pod, the newest first", got)
	}
	if answer.GetTimestamp() != 0 {
		t.Errorf("timestamp = %d: the kubelet would take the containers from this answer", answer.GetTimestamp())
	}
}
