// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// shown decodes what a verbose status has.
func shown(t *testing.T, info map[string]any, into any) (text string) {
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
	if text := shown(t, containerInfo(r, spec), &info); strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
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
		t.Error("the record itself has lost its environment")
	}
}

// jq '.info.runtimeSpec.linux.namespaces[] | select(.type == "network").path'
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
	shown(t, podInfo(r), &info)
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
		t.Errorf("timestamp = %d: the kubelet would take the containers from here", answer.GetTimestamp())
	}
}
