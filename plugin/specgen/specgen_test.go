// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// newGenerator returns a Generator with one handler, whose OCI runtime is older than the default.
func newGenerator() *Generator {
	settings := config.DefaultRuntime()
	settings.DisableApparmor = true
	return &Generator{
		Config:    settings,
		BaseSpecs: map[string]*specs.Spec{"old": {Hostname: "base", Process: &specs.Process{}, Linux: &specs.Linux{}}},
		Facts:     host.Facts{Facts: spec.Facts{AppArmor: true, CgroupV2: true}},
		Features:  map[string]*features.Features{"old": {OCIVersionMax: "1.0.1"}},
		Files:     host.PodFiles{Paths: paths.Paths{Root: "/r", State: "/s"}},
	}
}

func testPod() spec.Pod {
	return spec.Pod{ID: "p", Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "shop", Namespace: "default", Uid: "u1"},
		Linux:    &runtimeapi.LinuxPodSandboxConfig{CgroupParent: "/kubepods"},
	}}
}

func containerConfig(pid *runtimeapi.NamespaceOption) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "web"},
		Command:  []string{"/web"},
		Linux: &runtimeapi.LinuxContainerConfig{
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{NamespaceOptions: pid},
		},
	}
}

// The facts are those of the handler and of config.toml, and the files those of the pod.
func TestCheckReadsTheNode(t *testing.T) {
	g := newGenerator()
	in, err := g.Check(t.Context(), Request{
		ID:          "c",
		Config:      containerConfig(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}),
		Pod:         testPod(),
		HandlerName: "old",
		Handler:     config.Handler{CgroupWritable: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec.Facts{CgroupV2: true, OCIVersion: "1.0.1"}, in.Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(spec.Handler{BaseSpec: g.BaseSpecs["old"], CgroupWritable: true}, in.Handler); diff != "" {
		t.Errorf("handler (-want +got):\n%s", diff)
	}
	files := spec.PodFiles{
		Hostname: "/r/sandboxes/p/hostname", Hosts: "/r/sandboxes/p/hosts", ResolvConf: "/r/sandboxes/p/resolv.conf", Shm: "/s/sandboxes/p/shm",
	}
	if diff := cmp.Diff(files, in.Pod.Files); diff != "" {
		t.Errorf("files of the pod (-want +got):\n%s", diff)
	}
}

// The target of a PID namespace is looked up in the pod of the container.
func TestCheckTargetPID(t *testing.T) {
	in, err := newGenerator().Check(t.Context(), Request{
		ID:     "c",
		Config: containerConfig(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "other"}),
		Pod:    testPod(),
		PIDOf: func(podID, id string) (uint32, error) {
			if podID != "p" || id != "other" {
				t.Errorf("asked for %s in pod %s", id, podID)
			}
			return 7, nil
		},
	})
	if err != nil || in.TargetPID != "/proc/7/ns/pid" {
		t.Errorf("PID namespace %q, %v", in.TargetPID, err)
	}
}

// Only a pod with an init has a process and a root file system.
func TestPodTask(t *testing.T) {
	g := newGenerator()
	holder, err := g.PodTask(PodRequest{Pod: testPod(), HandlerName: "old"})
	if err != nil {
		t.Fatal(err)
	}
	if holder.Root != nil || len(holder.Process.Args) != 0 || holder.Version != "1.0.1" {
		t.Errorf("holder: root %v, args %v, version %s", holder.Root, holder.Process.Args, holder.Version)
	}
	init, err := g.PodTask(PodRequest{Pod: testPod(), HandlerName: "old", Init: "/bin/init"})
	if err != nil {
		t.Fatal(err)
	}
	if init.Root.Path != bundleRootfs || init.Process.ApparmorProfile != "" || init.Version != "1.0.1" {
		t.Errorf("init: root %v, profile %q, version %s", init.Root, init.Process.ApparmorProfile, init.Version)
	}
	if binary := init.Mounts[len(init.Mounts)-1]; binary.Source != "/bin/init" {
		t.Errorf("mount of the init: %v", binary)
	}
}
