// SPDX-License-Identifier: Apache-2.0

// Package fields sets each field of a pod's and a container's config that has a visible effect, and
// checks the effect in the container or on the host, and in ContainerStatus. Package plugin/spec
// tests how a field becomes part of an OCI spec; package badinput tests refusals.
package fields

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestFields has one bench. The leak check runs after each group.
func TestFields(t *testing.T) {
	b := newBench(t)
	for _, g := range []struct {
		name string
		run  func(*testing.T, bench)
	}{
		{"image volumes", imageVolumes},
		{"image volumes in a user namespace", imageVolumesUserNS},
		{"image volumes outlive their image and the daemon", imageVolumesLife},
		{"image volumes after a crash", imageVolumesCrash},
		{"refused image volumes", imageVolumesRefused},
		{"mounts", mounts},
		{"process", process},
		{"users and groups", users},
		{"capabilities and privileges", privileges},
		{"devices", devices},
		{"PID namespaces", pidNamespaces},
		{"host namespaces", hostNamespaces},
		{"sysctls", sysctls},
		{"user namespace", userNamespace},
		{"user namespace on the host network", userNamespaceHostNetwork},
		{"resources", resources},
		{"update of resources", updateResources},
		{"refused updates of resources", refusedUpdates},
		{"stop signals", stopSignals},
		{"reasons of exits", reasons},
		{"Windows fields", windows},
	} {
		b.NoLeaks(t, g.name, func(t *testing.T) { g.run(t, b) })
	}
}

type bench struct{ harness.Session }

func newBench(t *testing.T) bench {
	t.Helper()
	return bench{harness.Open(t, image.Busybox, image.Volume)}
}

// pull pulls an image and returns its ID.
func (b bench) pull(t *testing.T, name string) string {
	t.Helper()
	answer, err := b.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil {
		t.Fatal(err)
	}
	return answer.ImageRef
}

// pod is a pod that runs until the test ends.
type pod struct {
	bench
	id     string
	config *runtimeapi.PodSandboxConfig
}

// pod runs a pod on the host network, modified by change.
func (b bench) pod(t *testing.T, name string, change func(*runtimeapi.PodSandboxConfig)) pod {
	t.Helper()
	config := b.PodConfig(name)
	harness.OnHostNetwork(config)
	if change != nil {
		change(config)
	}
	return pod{b, b.Pod(t, config), config}
}

// container returns the config of a container that sleeps, modified by change.
func (p pod) container(name string, change func(*runtimeapi.ContainerConfig)) *runtimeapi.ContainerConfig {
	config := harness.ContainerConfig(p.config, name, image.Busybox, "sleep", "1000")
	config.Linux.SecurityContext.NamespaceOptions = p.config.Linux.SecurityContext.NamespaceOptions
	if change != nil {
		change(config)
	}
	return config
}

// run starts such a container and returns its ID.
func (p pod) run(t *testing.T, name string, change func(*runtimeapi.ContainerConfig)) string {
	t.Helper()
	id, err := p.Run(t.Context(), p.id, p.config, p.container(name, change))
	if err != nil {
		t.Fatalf("run container %s: %v", name, err)
	}
	return id
}

// create creates such a container.
func (p pod) create(t *testing.T, name string, change func(*runtimeapi.ContainerConfig)) (string, error) {
	t.Helper()
	answer, err := p.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: p.config, Config: p.container(name, change),
	})
	return answer.GetContainerId(), err
}

// sh runs a shell command in a container and returns its output, including stderr, without the last
// newline.
func (b bench) sh(t *testing.T, container, script string) string {
	t.Helper()
	answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatalf("exec %s: %v", script, err)
	}
	return strings.TrimSuffix(string(answer.Stdout)+string(answer.Stderr), "\n")
}

func (b bench) status(t *testing.T, container string) *runtimeapi.ContainerStatus {
	t.Helper()
	answer, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// spec returns the OCI spec of a container.
func (b bench) spec(t *testing.T, container string) *specs.Spec {
	t.Helper()
	client, err := b.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := client.LoadContainer(t.Context(), container)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Spec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func equal[V comparable](t *testing.T, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want something with %q", what, got, want)
	}
}
