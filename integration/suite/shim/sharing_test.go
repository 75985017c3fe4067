// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const atOnce = 10

// TestSharing runs pods that share shims, with our plugin or, with LITE_DAEMON=stock, with
// containerd's own CRI.
func TestSharing(t *testing.T) {
	options := harness.FromEnv()
	options.Handler = harness.HandlerLite
	for _, mode := range []struct {
		sharing string
		pods    int // per shim
	}{{"node", 1000}, {"4", 4}} {
		t.Run(mode.sharing, func(t *testing.T) {
			options := options
			options.Sharing = mode.sharing
			if mode.pods == 1000 {
				options.Sharing = `"node"`
			}
			s := sharing{harness.OpenWith(t, options, image.Busybox), mode.pods}
			for _, test := range []struct {
				name string
				run  func(*testing.T, sharing)
			}{
				{"pods at once", podsAtOnce},
				{"shared shim killed", sharedShimKilled},
				{"many execs", manyExecs},
			} {
				s.NoLeaks(t, test.name, func(t *testing.T) { test.run(t, s) })
			}
		})
	}
}

// sharing is a bench whose shims have a number of pods each.
type sharing struct {
	harness.Session
	pods int
}

// pod is a pod with a container.
type pod struct {
	config        *runtimeapi.PodSandboxConfig
	id, container string
}

// start runs n pods concurrently, and removes them when the test ends.
func (s sharing) start(t *testing.T, name string, n int) []pod {
	t.Helper()
	pods, errs := make([]pod, n), make([]error, n)
	var starting sync.WaitGroup
	for i := range n {
		starting.Go(func() { pods[i], errs[i] = s.run(t, fmt.Sprintf("%s-%d", name, i)) })
	}
	starting.Wait()
	t.Cleanup(func() {
		for _, p := range pods {
			if p.id == "" {
				continue
			}
			if err := s.RemovePod(harness.After(t), p.id); err != nil {
				t.Error(err)
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return pods
}

func (s sharing) run(t *testing.T, name string) (p pod, err error) {
	p.config = s.PodConfig(name)
	harness.OnHostNetwork(p.config)
	if p.id, err = s.RunPod(t.Context(), p.config); err != nil {
		return p, err
	}
	p.container, err = s.Run(t.Context(), p.id, p.config, harness.ContainerConfig(p.config, "sleep", image.Busybox, "sleep", "1000"))
	return p, err
}

// shims returns the PIDs of the shims and the pods of each.
func (s sharing) shims(t *testing.T, pods []pod) map[int][]pod {
	t.Helper()
	shims := map[int][]pod{}
	for _, p := range pods {
		pid, err := s.shimOf(p)
		if err != nil {
			t.Fatal(err)
		}
		shims[pid] = append(shims[pid], p)
	}
	running, err := s.Processes("containerd-shim")
	if err != nil || len(running) != len(shims) {
		t.Errorf("shims %v, %v; %d have pods", running, err, len(shims))
	}
	return shims
}

// podsAtOnce checks that there are no more shims than needed. The leak check checks that none is
// left after the last pod.
func podsAtOnce(t *testing.T, s sharing) {
	pods := s.start(t, "first", atOnce)
	shims := s.shims(t, pods)
	if want := (len(pods) + s.pods - 1) / s.pods; len(shims) != want {
		t.Errorf("%d shims for %d pods, want %d", len(shims), len(pods), want)
	}
	for _, p := range pods {
		answer, err := s.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"hostname"}})
		if err != nil || strings.TrimSpace(string(answer.GetStdout())) == "" {
			t.Errorf("exec in %s: %v, %v", p.config.Metadata.Name, answer, err)
		}
	}
}

// sharedShimKilled kills a shim with all its pods: their exits must be reported and they must be
// removable, pods of other shims must not be disturbed, and new pods must start.
func sharedShimKilled(t *testing.T, s sharing) {
	pods := s.start(t, "lost", 2*atOnce)
	shims := s.shims(t, pods)
	victim, err := s.shimOf(pods[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for shim, pods := range shims {
		for _, p := range pods {
			if shim != victim {
				s.expectRunning(t, p)
				continue
			}
			status, err := s.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED)
			if err != nil || status.ExitCode != s.killed() {
				t.Errorf("%s: exit code %d, %v, want %d", p.config.Metadata.Name, status.GetExitCode(), err, s.killed())
			}
		}
	}
	for _, p := range s.start(t, "next", 2) {
		s.expectRunning(t, p)
	}
}

// killed returns the exit code of a container whose shim was killed. containerd's own CRI gets it
// from the shim.
func (s sharing) killed() int32 {
	if s.Options.Daemon == harness.Stock {
		return 255
	}
	return 128 + int32(syscall.SIGKILL)
}

func (s sharing) expectRunning(t *testing.T, p pod) {
	t.Helper()
	if _, err := s.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"true"}}); err != nil {
		t.Errorf("%s: %v", p.config.Metadata.Name, err)
	}
}

// shimOf returns the PID of a pod's shim: the parent of the container's process.
func (s sharing) shimOf(p pod) (shim int, err error) {
	pid, err := os.ReadFile(s.Path("state", "io.containerd.runtime.v2.task", harness.Namespace, p.container, "init.pid"))
	if err != nil {
		return 0, err
	}
	status, err := os.ReadFile(filepath.Join("/proc", string(pid), "status"))
	if err != nil {
		return 0, err
	}
	_, parent, _ := strings.Cut(string(status), "PPid:")
	_, err = fmt.Sscan(parent, &shim)
	return shim, err
}
