// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestCrioConfig checks that CRI-O is configured with the OCI runtime and the cgroup driver of the
// options, and with no path outside the bench's root.
func TestCrioConfig(t *testing.T) {
	b := &Bench{
		Options:  Options{Daemon: Crio, CgroupDriver: Systemd, Runtime: "crun"}.WithDefaults(),
		Root:     "/bench",
		Registry: &Registry{server: httptest.NewServer(nil)},
		Network:  &Network{ConfDir: "/bench/net.d", BinDir: "/bench/bin"},
	}
	defer b.Registry.server.Close()
	b.Daemon = newDaemon(b)
	text := b.Daemon.program.configFiles()[b.Daemon.Config]
	var config struct {
		Crio struct {
			Runtime struct {
				Default  string         `toml:"default_runtime"`
				Cgroups  string         `toml:"cgroup_manager"`
				Runtimes map[string]any `toml:"runtimes"`
			} `toml:"runtime"`
		} `toml:"crio"`
	}
	if err := toml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	got := config.Crio.Runtime
	if _, found := got.Runtimes["crun"]; !found || got.Default != "crun" || got.Cgroups != Systemd {
		t.Errorf("got %+v", got)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, `"/`) && !strings.Contains(line, `"/bench`) {
			t.Errorf("a path outside the root: %s", line)
		}
	}
}

// TestCrio checks that a bench measures what it should with CRI-O as the daemon: a pod on the CNI
// network runs, answers an exec, has statistics and outlives a restart; the conmon counts as a
// process of the bench; and the leak check, which the end of the test runs, sees a pod.
func TestCrio(t *testing.T) {
	b := StartWith(t, Options{Daemon: Crio})
	client := b.Client(t, image.Busybox)
	before, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := Session{b, client}
	config := b.PodConfig("crio")
	pod := s.Pod(t, config)
	id, err := s.Run(t.Context(), pod, config, ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // StopPodSandbox of CRI-O would wait for ten seconds
		if _, err := s.StopContainer(After(t), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
			t.Error(err)
		}
	})

	t.Run("leak check", func(t *testing.T) {
		now, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{
			"address", "cgroup", "container", "file", "link", "mount", "netns", "process", "rule", "sandbox", "snapshot",
		} {
			if len((State{kind: before[kind]}).Diff(State{kind: now[kind]})) == 0 {
				t.Errorf("the check does not see the pod's %s", kind)
			}
		}
	})
	t.Run("conmon", func(t *testing.T) {
		if err := b.AwaitProcesses(t.Context(), "conmon", 1); err != nil {
			t.Error(err)
		}
	})
	t.Run("restart", func(t *testing.T) {
		if err := b.Daemon.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_RUNNING); err != nil {
			t.Error(err)
		}
	})
	t.Run("exec", func(t *testing.T) {
		answer, err := s.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"echo", "ran"}, Timeout: 30})
		if err != nil || string(answer.Stdout) != "ran\n" {
			t.Errorf("answer %v, error %v", answer, err)
		}
	})
	t.Run("statistics", func(t *testing.T) {
		answer, err := s.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: id})
		if err != nil || answer.GetStats().GetMemory().GetWorkingSetBytes().GetValue() == 0 {
			t.Errorf("answer %v, error %v", answer, err)
		}
	})
}
