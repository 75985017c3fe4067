// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// count is the number of pods that run during the tests of the service.
const count = 20

// node is the CRI at its default socket.
type node struct {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient
}

// socket is the default socket of the daemon.
const socket = "/run/containerd/containerd.sock"

func connect(t *testing.T) node {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return node{runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn)}
}

// pod is a pod with a running container.
type pod struct {
	id, container string
	process       string // the container's process and its start time
	log           string // path
}

// startPods runs pods, each with a container that writes a line every second.
func (n node) startPods(t *testing.T, count int) []pod {
	t.Helper()
	n.pullBusybox(t)
	var pods []pod
	for i := range count {
		name := fmt.Sprintf("pod-%d", i)
		pods = append(pods, n.startPod(t, &runtimeapi.PodSandboxConfig{
			Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "service", Uid: name},
			Hostname:     name,
			LogDirectory: filepath.Join("/var/log/pods", name),
			Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: "/service/" + name},
		}))
	}
	return pods
}

func (n node) pullBusybox(t *testing.T) {
	t.Helper()
	spec := &runtimeapi.ImageSpec{Image: image.Busybox}
	if _, err := n.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec}); err != nil {
		t.Fatal(err)
	}
}

func (n node) startPod(t *testing.T, config *runtimeapi.PodSandboxConfig) pod {
	t.Helper()
	sandbox, err := n.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	created, err := n.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
		PodSandboxId:  sandbox.PodSandboxId,
		SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "main"},
			Image:    &runtimeapi.ImageSpec{Image: image.Busybox},
			Command:  []string{"sh", "-c", "while echo alive; do sleep 1; done"},
			LogPath:  "main.log",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	p := pod{id: sandbox.PodSandboxId, container: created.ContainerId, log: filepath.Join(config.LogDirectory, "main.log")}
	await(t, func() error {
		p.process, err = findProcess(config.Hostname)
		return err
	})
	return p
}

// findProcess finds the shell of a pod by its hostname. The result includes the start time, so that
// no later process compares equal.
func findProcess(hostname string) (string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		if string(comm) == "sh\n" && strings.Contains("\x00"+string(environ), "\x00HOSTNAME="+hostname+"\x00") {
			return identity(dir)
		}
	}
	return "", fmt.Errorf("pod %s has no process", hostname)
}

// identity returns the directory of a process in /proc and its start time, see proc_pid_stat(5).
func identity(dir string) (string, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return dir + " " + fields[19], nil
}

// checkProcesses checks that the processes of pods are the original ones and that each still writes
// its log.
func checkProcesses(t *testing.T, pods []pod) {
	t.Helper()
	for _, p := range pods {
		dir, _, _ := strings.Cut(p.process, " ")
		if now, err := identity(dir); err != nil || now != p.process {
			t.Errorf("pod %s: process %s, %v; want %s", p.id, now, err, p.process)
			continue
		}
		before := len(read(t, p.log))
		await(t, func() error {
			if now := len(read(t, p.log)); now == before {
				return fmt.Errorf("pod %s: the log still has %d bytes", p.id, now)
			}
			return nil
		})
	}
}

// check checks that pods are unchanged, also in the CRI's answers.
func (n node) check(t *testing.T, pods []pod) {
	t.Helper()
	checkProcesses(t, pods)
	for _, p := range pods {
		sandbox, err := n.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})
		if err != nil || sandbox.Status.State != runtimeapi.PodSandboxState_SANDBOX_READY {
			t.Errorf("pod %s: %v, %v", p.id, sandbox.GetStatus().GetState(), err)
		}
		container, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: p.container})
		if err != nil || container.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
			t.Errorf("pod %s: container: %v, %v", p.id, container.GetStatus().GetState(), err)
		}
		exec, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"hostname"}})
		if err != nil || exec.ExitCode != 0 {
			t.Errorf("pod %s: exec: %v, %v", p.id, exec, err)
		}
	}
}

func (n node) removePods(t *testing.T, pods []pod) {
	t.Helper()
	for _, p := range pods {
		if _, err := n.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Error(err)
		}
		if _, err := n.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Error(err)
		}
	}
}

func (n node) removeAllPods(t *testing.T) {
	t.Helper()
	answer, err := n.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var pods []pod
	for _, p := range answer.Items {
		pods = append(pods, pod{id: p.Id})
	}
	n.removePods(t, pods)
}
