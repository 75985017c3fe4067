// SPDX-License-Identifier: Apache-2.0

package crictl

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func images(t *testing.T, u user) {
	u.run(t, "pull", image.Nginx)
	contains(t, "images", u.run(t, "images"), "registry.k8s.io/e2e-test-images/nginx")

	var status struct{ Status struct{ ID string } }
	u.runJSON(t, &status, "inspecti", image.Nginx)
	config, err := u.Registry.Image(image.Nginx).ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the ID of the image", status.Status.ID, config.String())
	contains(t, "images -q", u.run(t, "images", "-q"), config.String())
	u.run(t, "imagefsinfo")

	u.run(t, "rmi", image.Nginx)
	if ids := u.run(t, "images", "-q"); strings.Contains(ids, config.String()) {
		t.Errorf("images -q after rmi: %s is still listed:\n%s", config, ids)
	}
}

func life(t *testing.T, u user) {
	config := u.PodConfig("life")
	podFile, err := u.WriteConfig("life-pod", config)
	if err != nil {
		t.Fatal(err)
	}
	file, err := u.WriteConfig("life-container", harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	pod := u.run(t, "runp", podFile)
	equal(t, "pods", u.run(t, "pods", "-q", "--no-trunc", "--state", "Ready", "--name", "life"), pod)
	id := u.run(t, "create", pod, file, podFile)
	equal(t, "state after create", u.state(t, id), "CONTAINER_CREATED")
	u.run(t, "start", id)
	equal(t, "state after start", u.state(t, id), "CONTAINER_RUNNING")
	equal(t, "ps", u.run(t, "ps", "-q", "--no-trunc"), id)
	contains(t, "ps", u.run(t, "ps"), "life")
	u.inspect(t, pod, id)

	u.run(t, "stop", "--timeout", "0", id)
	equal(t, "state after stop", u.state(t, id), "CONTAINER_EXITED")
	equal(t, "ps after stop", u.run(t, "ps", "-q"), "")
	equal(t, "ps -a after stop", u.run(t, "ps", "-a", "-q", "--no-trunc"), id)
	u.run(t, "rm", id)
	equal(t, "ps -a after rm", u.run(t, "ps", "-a", "-q"), "")
	u.run(t, "stopp", pod)
	equal(t, "pods after stopp", u.run(t, "pods", "-q", "--no-trunc", "--state", "NotReady"), pod)
	u.run(t, "rmp", pod)
	equal(t, "pods after rmp", u.run(t, "pods", "-q"), "")
}

// inspect checks the details of a running pod and container.
func (u user) inspect(t *testing.T, pod, id string) {
	t.Helper()
	var podStatus struct {
		Status struct {
			State    string
			Network  struct{ IP string }
			Metadata struct{ Name, Namespace, UID string }
		}
		Info struct {
			RuntimeSpec struct {
				Linux struct {
					Namespaces []struct{ Type, Path string }
				}
			}
		}
	}
	u.runJSON(t, &podStatus, "inspectp", pod)
	equal(t, "state of the pod", podStatus.Status.State, "SANDBOX_READY")
	equal(t, "name of the pod", podStatus.Status.Metadata.Name, "life")
	if !strings.HasPrefix(podStatus.Status.Network.IP, "198.18.") {
		t.Errorf("the pod's address %q is not in the bench's network", podStatus.Status.Network.IP)
	}
	if !slices.ContainsFunc(podStatus.Info.RuntimeSpec.Linux.Namespaces, func(n struct{ Type, Path string }) bool {
		return n.Type == "network" && n.Path != ""
	}) {
		t.Errorf("inspectp: no path of the network namespace in %+v", podStatus.Info)
	}
	var status struct {
		Status struct {
			LogPath   string
			Image     struct{ Image string }
			StartedAt string
		}
		Info struct {
			Pid         int
			SandboxID   string
			RuntimeSpec struct{ Process struct{ Args []string } }
		}
	}
	u.runJSON(t, &status, "inspect", id)
	equal(t, "image of the container", status.Status.Image.Image, image.Busybox)
	equal(t, "log of the container", status.Status.LogPath, u.Path("logs", "life", "main.log"))
	equal(t, "pod of the container", status.Info.SandboxID, pod)
	equal(t, "arguments of the container", strings.Join(status.Info.RuntimeSpec.Process.Args, " "), "sleep 1000")
	if status.Info.Pid == 0 || status.Status.StartedAt == "" {
		t.Errorf("inspect: no pid or start time: %+v", status)
	}
}

func (u user) state(t *testing.T, id string) string {
	t.Helper()
	var status struct {
		Status struct{ State string }
	}
	u.runJSON(t, &status, "inspect", id)
	return status.Status.State
}

func exitCode(t *testing.T, u user) {
	config := u.PodConfig("seven")
	_, id := u.pod(t, "seven", config, harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "exit 7"))
	var status struct {
		Status struct {
			State, Reason string
			ExitCode      int
		}
	}
	if err := harness.Await(t.Context(), func() error {
		u.runJSON(t, &status, "inspect", id)
		if status.Status.State != "CONTAINER_EXITED" {
			return errRunning
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if status.Status.ExitCode != 7 {
		t.Errorf("exit code %d, want 7", status.Status.ExitCode)
	}
	equal(t, "reason", status.Status.Reason, "Error")
}

func stats(t *testing.T, u user) {
	pod, id := u.sleeper(t, "stats")
	var containers struct {
		Stats []struct {
			Attributes struct{ ID string }
			CPU        struct{ UsageCoreNanoSeconds struct{ Value string } }
			Memory     struct{ WorkingSetBytes struct{ Value string } }
		}
	}
	u.runJSON(t, &containers, "stats", "--id", id)
	if len(containers.Stats) != 1 || containers.Stats[0].Attributes.ID != id {
		t.Fatalf("stats: %+v, want the container %s", containers, id)
	}
	for what, value := range map[string]string{
		"cpu":    containers.Stats[0].CPU.UsageCoreNanoSeconds.Value,
		"memory": containers.Stats[0].Memory.WorkingSetBytes.Value,
	} {
		if value == "" || value == "0" {
			t.Errorf("stats: %s: %q", what, value)
		}
	}
	var pods struct {
		Stats []struct {
			Attributes struct{ ID string }
			Linux      struct {
				Network struct{ DefaultInterface struct{ Name string } }
				Process struct{ ProcessCount struct{ Value string } }
			}
		}
	}
	u.runJSON(t, &pods, "statsp", "--id", pod)
	if len(pods.Stats) != 1 || pods.Stats[0].Attributes.ID != pod {
		t.Fatalf("statsp: %+v, want the pod %s", pods, pod)
	}
	equal(t, "statsp: interface", pods.Stats[0].Linux.Network.DefaultInterface.Name, "eth0")
}

func ctr(t *testing.T, u user) {
	_, id := u.sleeper(t, "ctr")
	for _, noun := range []string{"containers", "tasks"} {
		out, err := harness.Output(u.Ctr(t.Context(), "-n", harness.Namespace, noun, "ls"))
		if err != nil {
			t.Fatalf("ctr %v", err)
		}
		contains(t, "ctr "+noun+" ls", out, id)
	}
	out, err := harness.Output(u.Ctr(t.Context(), "-n", harness.Namespace, "images", "ls"))
	if err != nil {
		t.Fatalf("ctr %v", err)
	}
	contains(t, "ctr images ls", out, image.Busybox)
}

func info(t *testing.T, u user) {
	var status struct {
		Status struct {
			Conditions []struct {
				Type   string
				Status bool
			}
		}
		RuntimeHandlers   []struct{ Name string }
		LastCNILoadStatus string
		Golang            string
		Panics            string // missing with stock containerd
	}
	u.runJSON(t, &status, "info")
	for _, condition := range status.Status.Conditions {
		if !condition.Status && strings.HasSuffix(condition.Type, "Ready") {
			t.Errorf("info: %s is false", condition.Type)
		}
	}
	equal(t, "CNI load status of info", status.LastCNILoadStatus, "OK")
	contains(t, "Go version of info", status.Golang, "go1.")
	if status.Panics != "0" && status.Panics != "" {
		t.Errorf("info: %s recovered panics", status.Panics)
	}
	var handlers []string
	for _, handler := range status.RuntimeHandlers {
		handlers = append(handlers, handler.Name)
	}
	contains(t, "the handlers of info", " "+strings.Join(handlers, " ")+" ", " "+u.Handler+" ")
	contains(t, "version", u.run(t, "version"), "RuntimeApiVersion:  v1")
}
