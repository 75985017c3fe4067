// SPDX-License-Identifier: Apache-2.0

// Package reload changes config.toml under running pods: the daemon applies it without a restart,
// all or nothing, and no call fails because of it.
package reload

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// node is a bench whose config.toml imports one drop-in file.
type node struct{ harness.Session }

// runtimeTable and the like begin the tables of a drop-in.
const (
	runtimeTable = "[plugins.'io.containerd.cri.v1.runtime']\n"
	cniTable     = "[plugins.'io.containerd.cri.v1.runtime'.cni]\n"
	pinnedTable  = "[plugins.'io.containerd.cri.v1.images'.pinned_images]\n"
	imagesTable  = "[plugins.'io.containerd.cri.v1.images']\n"
	serverTable  = "[plugins.'io.containerd.grpc.v1.cri']\n"
)

func open(t *testing.T) node {
	t.Helper()
	options := harness.FromEnv()
	options.Race = true
	n := node{harness.OpenWith(t, options, image.Busybox)}
	data, err := os.ReadFile(n.Daemon.Config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "imports = []", fmt.Sprintf("imports = [%q]", filepath.Join(filepath.Dir(n.dropIn()), "*.toml")), 1)
	if text == string(data) {
		t.Fatal("the config of the bench has no imports")
	}
	if err := errors.Join(os.Mkdir(filepath.Dir(n.dropIn()), 0o700), os.WriteFile(n.Daemon.Config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n node) dropIn() string { return n.Path("conf.d", "99-test.toml") }

// write replaces the drop-in.
func (n node) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(n.dropIn(), []byte("version = 3\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload replaces the drop-in and runs the command `config reload`.
func (n node) reload(t *testing.T, text string) (output string, err error) {
	t.Helper()
	n.write(t, text)
	cmd := n.Daemon.Lite(t.Context(), "config", "reload")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// call makes the daemon reload as the command does, without a process.
func (n node) call(t *testing.T) error {
	t.Helper()
	return n.invoke(t, "/containerdlite.v1.Reload/Reload", new(emptypb.Empty), new(wrapperspb.BytesValue))
}

func (n node) invoke(t *testing.T, method string, request, answer any) error {
	t.Helper()
	client, err := n.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn := client.Conn().(grpc.ClientConnInterface)
	return conn.Invoke(t.Context(), method, request, answer)
}

func (n node) mustReload(t *testing.T, text string) {
	t.Helper()
	if out, err := n.reload(t, text); err != nil {
		t.Fatalf("reload of %q: %v: %s", text, err, out)
	}
}

// handler returns the table of a handler that is as the handler lite.
func (n node) handler(name string) string {
	return fmt.Sprintf("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.%s]\nruntime_type = 'io.containerd.lite.v2'\n%s\n",
		name, n.HandlerOptions(name))
}

// handlers returns the names of the handlers that the CRI offers.
func (n node) handlers(t *testing.T) (names []string) {
	t.Helper()
	status, err := n.Status(t.Context(), &runtimeapi.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range status.RuntimeHandlers {
		names = append(names, h.Name)
	}
	return names
}

// TestHandlers adds a handler as nvidia-ctk does: a file, and SIGHUP. It removes the handler again
// while a pod of it runs.
func TestHandlers(t *testing.T) {
	n := open(t)
	n.NoLeaks(t, "nvidia", func(t *testing.T) {
		n.write(t, n.handler("nvidia"))
		n.hangUp(t)
		n.await(t, "the new handler", func() bool { return slices.Contains(n.handlers(t), "nvidia") })
		config := n.PodConfig("gpu")
		answer, err := n.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: "nvidia"})
		if err != nil {
			t.Fatalf("pod of the new handler: %v", err)
		}
		n.RemoveAfter(t, answer.PodSandboxId)
		container, err := n.Run(t.Context(), answer.PodSandboxId, config, harness.ContainerConfig(config, "main", image.Busybox, "top"))
		if err != nil {
			t.Fatal(err)
		}

		n.write(t, "")
		n.hangUp(t)
		n.await(t, "the removal of the handler", func() bool { return !slices.Contains(n.handlers(t), "nvidia") })
		run, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"echo", "hello"}, Timeout: 60})
		if err != nil || string(run.Stdout) != "hello\n" {
			t.Errorf("exec in a pod whose handler was removed: %v, %v", run, err)
		}
		_, err = n.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: n.PodConfig("next"), RuntimeHandler: "nvidia"})
		if err == nil || !strings.Contains(err.Error(), `"nvidia" is not configured`) {
			t.Errorf("pod of a removed handler: %v", err)
		}
		second := harness.ContainerConfig(config, "second", image.Busybox, "top")
		if _, err = n.Run(t.Context(), answer.PodSandboxId, config, second); err == nil || !strings.Contains(err.Error(), `"nvidia" is not configured`) {
			t.Errorf("container in a pod of a removed handler: %v", err)
		}
	})
}

// hangUp sends SIGHUP to the daemon.
func (n node) hangUp(t *testing.T) {
	t.Helper()
	if err := unix.Kill(n.Daemon.PID(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func (n node) await(t *testing.T, condition string, ok func() bool) {
	t.Helper()
	err := harness.Await(t.Context(), func() error {
		if !ok() {
			return errors.New("no " + condition)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSettings changes what pods and containers are made with, one thing at a time.
func TestSettings(t *testing.T) {
	n := open(t)
	n.NoLeaks(t, "network", n.changeNetwork)
	n.NoLeaks(t, "pinned image", n.changePins)
	n.NoLeaks(t, "streams", n.changeStreams)
	n.NoLeaks(t, "a wrong file", n.rejectFile)
	n.NoLeaks(t, "restart needed", n.nameRestart)
}

// changeNetwork moves the CNI configuration to another directory.
func (n node) changeNetwork(t *testing.T) {
	t.Helper()
	before := n.PodConfig("before")
	n.Pod(t, before)
	dir := n.Path("other.d")
	conf, err := os.ReadFile(filepath.Join(n.Network.ConfDir, "10-bench.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	// lo has no address of a subnet.
	other := `{"cniVersion":"1.0.0","name":"none","plugins":[{"type":"loopback"}]}`
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "10-none.conflist"), []byte(other), 0o600)); err != nil {
		t.Fatal(err)
	}
	n.mustReload(t, cniTable+fmt.Sprintf("conf_dir = %q\n", dir))
	_, err = n.RunPod(t.Context(), n.PodConfig("other"))
	if err == nil || !strings.Contains(err.Error(), "assigned no address") {
		t.Errorf("pod on a network without addresses: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10-none.conflist"), conf, 0o600); err != nil {
		t.Fatal(err)
	}
	n.await(t, "network in the new directory", func() bool {
		id, err := n.RunPod(t.Context(), n.PodConfig("other"))
		if err == nil {
			n.RemoveAfter(t, id)
		}
		return err == nil
	})
	n.mustReload(t, "")
}

// changePins pins an image, and unpins it.
func (n node) changePins(t *testing.T) {
	t.Helper()
	pinned := func() bool {
		answer, err := n.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image.Busybox}})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Image.Pinned
	}
	n.mustReload(t, pinnedTable+fmt.Sprintf("test = %q\n", image.Busybox))
	if !pinned() {
		t.Error("the image is not pinned")
	}
	n.mustReload(t, "")
	if pinned() {
		t.Error("the image is still pinned")
	}
}

// changeStreams moves the streaming server to another port.
func (n node) changeStreams(t *testing.T) {
	t.Helper()
	config := n.PodConfig("streams")
	container, err := n.Run(t.Context(), n.Pod(t, config), config, harness.ContainerConfig(config, "main", image.Busybox, "top"))
	if err != nil {
		t.Fatal(err)
	}
	port := harness.Port(t)
	n.mustReload(t, serverTable+fmt.Sprintf("stream_server_port = '%d'\n", port))
	answer, err := n.Exec(t.Context(), &runtimeapi.ExecRequest{ContainerId: container, Cmd: []string{"true"}, Stdout: true})
	if err != nil || !strings.Contains(answer.Url, fmt.Sprintf(":%d/", port)) {
		t.Errorf("URL of an exec: %v, %v", answer, err)
	}
	if out, err := n.Crictl(t.Context(), "exec", container, "echo", "hello").CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("exec: %s, %v", out, err)
	}
	n.mustReload(t, "")
}

// rejectFile checks that a file with one wrong key changes nothing.
func (n node) rejectFile(t *testing.T) {
	t.Helper()
	before := n.handlers(t)
	out, err := n.reload(t, n.handler("more")+imagesTable+"snapshotter = 'missing'\n")
	if err == nil || !strings.Contains(out, "nothing is changed") || !strings.Contains(out, `there is no snapshotter "missing"`) {
		t.Errorf("reload of a wrong file: %v: %s", err, out)
	}
	if got := n.handlers(t); !slices.Equal(got, before) {
		t.Errorf("handlers after a rejected reload: %q, want %q", got, before)
	}
}

// nameRestart checks that the keys that need a restart are named.
func (n node) nameRestart(t *testing.T) {
	t.Helper()
	out, err := n.reload(t, "oom_score = 5\n"+runtimeTable+"selinux_category_range = 7\n")
	if err != nil || !strings.Contains(out, "restart containerd-lite to apply the changes of oom_score, io.containerd.cri.v1.runtime.selinux_category_range") {
		t.Errorf("reload of keys that need a restart: %v: %s", err, out)
	}
}

// reloads returns how often TestChurn reloads.
func reloads(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("LITE_RELOADS"), "200"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// used returns the open files and the goroutines of the daemon.
func (n node) used(t *testing.T) (files, goroutines int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.Daemon.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var answer wrapperspb.BytesValue
	if err := n.invoke(t, "/containerdlite.v1.Status/Get", new(wrapperspb.StringValue), &answer); err != nil {
		t.Fatal(err)
	}
	var status struct{ Goroutines int }
	if err := json.Unmarshal(answer.GetValue(), &status); err != nil {
		t.Fatal(err)
	}
	return len(entries), status.Goroutines
}

// slack is by how many files and goroutines a daemon may have more after the reloads: those of
// connections that are not closed yet.
const slack = 20

// TestChurn reloads many times while pods come and go. Each third file is rejected.
func TestChurn(t *testing.T) {
	n := open(t)
	n.NoLeaks(t, "reloads", func(t *testing.T) {
		files, goroutines := n.used(t)
		done := make(chan struct{})
		var callers sync.WaitGroup
		for i := range 6 {
			callers.Go(func() {
				rounds := 0
				for ; ; rounds++ {
					select {
					case <-done:
						t.Logf("caller %d: %d pods", i, rounds)
						return
					default:
					}
					if err := n.life(t, fmt.Sprintf("p%d-%d", i, rounds)); err != nil {
						t.Errorf("caller %d: pod %d: %v", i, rounds, err)
						return
					}
				}
			})
		}
		steps := []struct {
			text    string
			invalid bool
		}{
			{n.handler("more") + runtimeTable + "max_container_log_line_size = 8192\n", false},
			{"debug.level = 'debug'\n" + cniTable + "ip_pref = 'cni'\n", false},
			{n.handler("less") + imagesTable + "snapshotter = 'missing'\n", true},
			{pinnedTable + fmt.Sprintf("test = %q\n", image.Busybox) + serverTable + "stream_idle_timeout = '1h'\n", false},
			{cniTable + "max_conf_num = 2\n" + imagesTable + "max_concurrent_downloads = 5\n", false},
			{runtimeTable + "enable_selinux = 'maybe'\n", true},
		}
		for i := range reloads(t) {
			step := steps[i%len(steps)]
			n.write(t, step.text)
			if err := n.call(t); (err != nil) != step.invalid {
				t.Errorf("reload %d: %v", i, err)
			}
		}
		close(done)
		callers.Wait()
		n.mustReload(t, "")
		if f, g := n.used(t); f > files+slack || g > goroutines+slack {
			t.Errorf("%d files and %d goroutines after the reloads, %d and %d before", f, g, files, goroutines)
		}
	})
}

// life runs a pod with a container and a command, and removes it.
func (n node) life(t *testing.T, name string) error {
	config := n.PodConfig(name)
	id, err := n.RunPod(t.Context(), config)
	if err != nil {
		return err
	}
	container, err := n.Run(t.Context(), id, config, harness.ContainerConfig(config, "main", image.Busybox, "top"))
	if err != nil {
		return err
	}
	run, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"echo", name}, Timeout: 60})
	if err != nil || string(run.Stdout) != name+"\n" {
		return fmt.Errorf("exec: %v, %w", run, err)
	}
	return n.RemovePod(t.Context(), id)
}
