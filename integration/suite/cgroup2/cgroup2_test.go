// SPDX-License-Identifier: Apache-2.0

// Package cgroup2 tests the cgroups of pods and containers on a host with cgroup v2: their limits,
// what a container may do with its own cgroup, the statistics, and that no out-of-memory kill is
// missed when a cgroup is removed. The tests apply to both cgroup drivers and check which one the
// handler uses.
package cgroup2

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/cgroups/v3"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	mib        = 1 << 20
	// execTimeout turns a hang into an error, in seconds.
	execTimeout = 60
)

// TestCgroups has one bench. The leak check runs after each group.
func TestCgroups(t *testing.T) {
	if cgroups.Mode() != cgroups.Unified {
		t.Skip("this host has cgroup v1, or both versions")
	}
	b := newBench(t)
	for _, g := range []struct {
		name string
		run  func(*testing.T, bench)
	}{
		{"limits", limits},
		{"swap", swap},
		{"control files of unified", unified},
		{"update below the memory in use", shrink},
		{"first limits that are refused", refused},
		{"place of a pod", podGroup},
		{"pod without a parent", withoutParent},
		{"cgroup namespace", namespace},
		{"subtree of a container", subtree},
		{"subtree in a user namespace", subtreeUserNS},
		{"processes that outlive the init", kill},
		{"pause", pause},
		{"statistics", statistics},
		{"out of memory", outOfMemory},
		{"out of memory as a group", outOfMemoryGroup},
		{"killed by SIGKILL", killedOtherwise},
	} {
		b.NoLeaks(t, g.name, func(t *testing.T) { g.run(t, b) })
	}
}

type bench struct{ harness.Session }

func newBench(t *testing.T) bench {
	t.Helper()
	b := bench{harness.Open(t, image.Busybox)}
	config, err := b.RuntimeConfig(t.Context(), &runtimeapi.RuntimeConfigRequest{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "cgroup driver", strings.ToLower(config.GetLinux().GetCgroupDriver().String()), b.CgroupDriver)
	return b
}

// pod is a pod that runs until the test ends.
type pod struct {
	bench
	id     string
	config *runtimeapi.PodSandboxConfig
}

// pod runs a pod on the host network.
func (b bench) pod(t *testing.T, name, handler string, change func(*runtimeapi.PodSandboxConfig)) pod {
	t.Helper()
	config := b.PodConfig(name)
	harness.OnHostNetwork(config)
	if change != nil {
		change(config)
	}
	answer, err := b.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		t.Fatalf("run pod: %v", err)
	}
	b.RemoveAfter(t, answer.PodSandboxId)
	return pod{b, answer.PodSandboxId, config}
}

// shell returns the config of a container that runs a shell script, modified by change.
func (p pod) shell(name, script string, change func(*runtimeapi.ContainerConfig)) *runtimeapi.ContainerConfig {
	config := harness.ContainerConfig(p.config, name, image.Busybox, "sh", "-c", script)
	config.Linux.SecurityContext.NamespaceOptions = p.config.Linux.SecurityContext.NamespaceOptions
	config.Linux.Resources = &runtimeapi.LinuxContainerResources{}
	if change != nil {
		change(config)
	}
	return config
}

// run starts such a container and returns its ID.
func (p pod) run(t *testing.T, name, script string, change func(*runtimeapi.ContainerConfig)) string {
	t.Helper()
	id, err := p.Run(t.Context(), p.id, p.config, p.shell(name, script, change))
	if err != nil {
		t.Fatalf("run container %s: %v", name, err)
	}
	return id
}

func withLimits(l *runtimeapi.LinuxContainerResources) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { c.Linux.Resources = l }
}

// in runs a script in a container and returns its output.
func (b bench) in(t *testing.T, container, script string) string {
	t.Helper()
	answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"sh", "-c", script}, Timeout: execTimeout})
	if err != nil {
		t.Fatalf("exec %s: %v", script, err)
	}
	return strings.TrimSpace(string(answer.Stdout) + string(answer.Stderr))
}

// await waits until a script in a container succeeds.
func (b bench) await(t *testing.T, container, script string) {
	t.Helper()
	err := harness.Await(t.Context(), func() error {
		answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"sh", "-c", script}, Timeout: execTimeout})
		if err == nil && answer.ExitCode != 0 {
			err = errors.New(string(answer.Stderr))
		}
		return err
	})
	if err != nil {
		t.Fatalf("exec %s: %v", script, err)
	}
}

// specOf returns the OCI spec of a container, or of a pod's task.
func (b bench) specOf(t *testing.T, id string) *specs.Spec {
	t.Helper()
	client, err := b.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	container, err := client.LoadContainer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := container.Spec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// group returns the directory of the cgroup of a container, or of a pod's task.
func (b bench) group(t *testing.T, id string) string {
	t.Helper()
	return harness.CgroupFile(b.specOf(t, id).Linux.CgroupsPath, "", "")
}

// file returns the content of a control file.
func file(t *testing.T, group, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(group, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func has(group, name string) bool {
	_, err := os.Stat(filepath.Join(group, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// files compares the contents of control files.
func files(t *testing.T, group string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := file(t, group, name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

func equal[V comparable](t *testing.T, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
