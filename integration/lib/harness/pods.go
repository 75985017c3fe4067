// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodConfig returns the config of a pod as the kubelet would send it. Tests change the fields that
// they are about.
func (b *Bench) PodConfig(name string) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "bench", Uid: name + "-uid"},
		Hostname:     name,
		LogDirectory: b.Path("logs", name),
		Labels:       labels(name),
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			// The kubelet creates the pod's cgroup and removes it; here the bench does.
			CgroupParent: b.podCgroup(name),
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			},
		},
	}
}

// OnHostNetwork puts a pod on the host network, with the host's name, as the kubelet does. Such
// pods start faster.
func OnHostNetwork(pod *runtimeapi.PodSandboxConfig) {
	pod.Hostname = ""
	pod.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
}

// labels returns the labels by which crictl finds the pod of a container.
func labels(pod string) map[string]string {
	return map[string]string{
		"io.kubernetes.pod.name": pod, "io.kubernetes.pod.namespace": "bench", "io.kubernetes.pod.uid": pod + "-uid",
	}
}

// ContainerConfig returns the config of a container of a pod made by [Bench.PodConfig].
func ContainerConfig(pod *runtimeapi.PodSandboxConfig, name, image string, command ...string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name},
		Labels:   labels(pod.Metadata.Name),
		Image:    &runtimeapi.ImageSpec{Image: image, UserSpecifiedImage: image},
		Command:  command,
		LogPath:  name + ".log",
		Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
}

// WriteConfig writes a config to a file for crictl and returns its path.
func (b *Bench) WriteConfig(name string, config any) (string, error) {
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return "", err
	}
	file := b.Path("configs", name+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, text, 0o644)
}

// Pull pulls an image.
func (c *CRI) Pull(ctx context.Context, image string) error {
	_, err := c.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	return err
}

// RunPod runs a pod with the default handler and returns its ID.
func (c *CRI) RunPod(ctx context.Context, config *runtimeapi.PodSandboxConfig) (string, error) {
	answer, err := c.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	return answer.GetPodSandboxId(), err
}

// Run creates and starts a container in a pod and returns its ID. The ID is also set if the start
// fails.
func (c *CRI) Run(ctx context.Context, pod string, podConfig *runtimeapi.PodSandboxConfig, config *runtimeapi.ContainerConfig) (string, error) {
	created, err := c.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: podConfig})
	if err != nil {
		return "", err
	}
	_, err = c.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId})
	return created.ContainerId, err
}

// RemovePod stops and removes a pod.
func (c *CRI) RemovePod(ctx context.Context, pod string) error {
	_, stop := c.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod})
	_, remove := c.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod})
	return errors.Join(stop, remove)
}

// AwaitState waits until a container is in a state and returns its status.
func (c *CRI) AwaitState(ctx context.Context, container string, state runtimeapi.ContainerState) (*runtimeapi.ContainerStatus, error) {
	var status *runtimeapi.ContainerStatus
	err := Await(ctx, func() error {
		answer, err := c.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container})
		if err != nil {
			return err
		}
		if status = answer.Status; status.State != state {
			return fmt.Errorf("container %s is in state %s, want %s", container, status.State, state)
		}
		return nil
	})
	return status, err
}

// Await calls probe until it succeeds. It is for conditions that have no event to wait for. After
// hangTimeout it returns the last error of probe.
func Await(ctx context.Context, probe func() error) error {
	return AwaitEvery(ctx, 20*time.Millisecond, probe)
}

// AwaitEvery is [Await] with the pause between two calls, for a probe that is expensive for the
// probed program. If the probe is slow, the pause grows, so that probing does not delay the
// condition.
func AwaitEvery(ctx context.Context, pause time.Duration, probe func() error) error {
	ctx, cancel := context.WithTimeout(ctx, hangTimeout)
	defer cancel()
	for {
		start := time.Now()
		err := probe()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(pause, min(backoffFactor*time.Since(start), longestPause))):
		}
	}
}

const (
	// backoffFactor times the duration of the last probe is the pause before the next one, up to
	// longestPause: a probe may be slow because it waited, without any load.
	backoffFactor = 10
	longestPause  = 3 * time.Second
)
