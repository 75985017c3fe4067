// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// hangTimeout ends a call that hangs. It is no performance goal.
const hangTimeout = 2 * time.Minute

// allowed returns the codes, besides OK, that a call may return in a sequential run: for an object
// in some state of its life, or for a name that is in use. Other callers may have changed the state
// since the caller observed the object.
func allowed(call string) []codes.Code {
	switch call {
	case "RunPodSandbox":
		return []codes.Code{codes.AlreadyExists}
	case "CreateContainer":
		return []codes.Code{codes.AlreadyExists, codes.NotFound, codes.FailedPrecondition}
	case "StartContainer", "ExecSync", "Exec", "UpdateContainerResources", "ReopenContainerLog", "ContainerStats":
		return []codes.Code{codes.NotFound, codes.FailedPrecondition}
	case "ExecSync that times out":
		return []codes.Code{codes.NotFound, codes.FailedPrecondition, codes.DeadlineExceeded}
	case "UpdatePodSandboxResources", "PodSandboxStatus", "ContainerStatus", "PodSandboxStats":
		return []codes.Code{codes.NotFound}
	}
	return nil
}

// caller makes one call after the other.
type caller struct {
	*run
	random  *rand.Rand
	patient bool // never cancels a call
	place   *place
}

// plan returns each call of a caller as often as its weight.
func plan() (calls []func(*caller)) {
	add := func(weight int, call func(*caller)) {
		calls = append(calls, slices.Repeat([]func(*caller){call}, weight)...)
	}
	add(10, (*caller).runPod)
	add(24, (*caller).create)
	add(30, (*caller).start)
	add(24, (*caller).exec)
	add(3, (*caller).execTooLong)
	add(8, (*caller).execStream)
	add(12, (*caller).update)
	add(3, (*caller).updatePod)
	add(6, (*caller).reopenLog)
	add(5, func(c *caller) { c.stop(c.container()) })
	add(4, func(c *caller) { c.remove(c.container()) })
	add(1, func(c *caller) { c.stopPod(c.pod()) })
	add(2, func(c *caller) { c.removePod(c.pod()) })
	add(5, (*caller).podStatus)
	add(10, (*caller).containerStatus)
	add(5, func(c *caller) { c.adopt(c.podsOf(c.place)) })
	add(8, func(c *caller) { c.containersOf(c.place) })
	add(3, func(c *caller) { c.containersOf(nil) })
	add(8, (*caller).stats)
	return calls
}

// call makes a call, sometimes cancels it, and checks the answer. It reports whether the answer is
// OK.
func (c *caller) call(name string, do func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), hangTimeout)
	defer cancel()
	givesUp := !c.patient && c.random.IntN(5) == 0
	if givesUp {
		after := time.Duration(c.random.IntN(1000)) * time.Millisecond
		if c.random.IntN(2) == 0 {
			ctx, cancel = context.WithTimeout(ctx, after)
			defer cancel()
		} else {
			defer time.AfterFunc(after, cancel).Stop()
		}
	}
	err := do(ctx)
	code := status.Code(err)
	c.counts.add(name, code)
	gaveUp := givesUp && (code == codes.Canceled || code == codes.DeadlineExceeded)
	if err != nil && !gaveUp && !slices.Contains(allowed(name), code) {
		c.history.complainf("%s: %v", name, err)
	}
	return err == nil
}

func (c *caller) pod() string {
	c.place.mu.Lock()
	defer c.place.mu.Unlock()
	return c.place.pod
}

func (c *caller) container() string {
	c.place.mu.Lock()
	defer c.place.mu.Unlock()
	return c.place.containers[c.random.IntN(perPod)]
}

// adopt makes the callers continue with a listed pod of the place: no caller has the ID of a pod
// whose RunPodSandbox was canceled.
func (c *caller) adopt(ids []string) {
	c.place.mu.Lock()
	defer c.place.mu.Unlock()
	if len(ids) > 0 && c.place.pod != ids[0] {
		c.place.pod, c.place.containers = ids[0], [perPod]string{}
	}
}

func (c *caller) runPod() {
	since := c.history.now(false)
	c.call("RunPodSandbox", func(ctx context.Context) error {
		id, err := c.RunPod(ctx, c.place.config)
		if err == nil {
			c.history.answer("RunPodSandbox", id, "", since)
			c.adopt([]string{id})
		}
		return err
	})
}

// script returns a container's script: it exits on SIGTERM, only on SIGKILL, or by itself.
func (c *caller) script() string {
	return [...]string{
		"trap exit TERM; sleep 1000 & wait",
		"trap '' TERM; while true; do echo line; sleep 0.1; done",
		"echo hello; sleep 0.2; exit 3",
	}[c.random.IntN(3)]
}

func (c *caller) create() {
	pod, i, since := c.pod(), c.random.IntN(perPod), c.history.now(true)
	if pod == "" {
		return
	}
	config := harness.ContainerConfig(c.place.config, fmt.Sprintf("c%d", i), image.Busybox, "sh", "-c", c.script())
	config.Linux.SecurityContext.NamespaceOptions = c.place.config.Linux.SecurityContext.NamespaceOptions
	c.call("CreateContainer", func(ctx context.Context) error {
		answer, err := c.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: c.place.config})
		if err != nil {
			return err
		}
		c.history.answer("CreateContainer", answer.ContainerId, pod, since)
		c.place.mu.Lock()
		defer c.place.mu.Unlock()
		if c.place.pod == pod {
			c.place.containers[i] = answer.ContainerId
		}
		return nil
	})
}

// on makes a call for a container, if its ID is known.
func (c *caller) on(id, name string, do func(ctx context.Context) error) bool {
	return id != "" && c.call(name, do)
}

func (c *caller) start() {
	id := c.container()
	if c.on(id, "StartContainer", func(ctx context.Context) error {
		_, err := c.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
		return err
	}) {
		c.history.advance(id, running)
	}
}

func (c *caller) exec() {
	id := c.container()
	c.on(id, "ExecSync", func(ctx context.Context) error {
		answer, err := c.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"echo", "pong"}})
		if err == nil && answer.ExitCode == 0 && string(answer.Stdout) != "pong\n" {
			c.history.complainf("ExecSync of echo pong: %q", answer.Stdout)
		}
		return err
	})
}

func (c *caller) execTooLong() {
	id := c.container()
	c.on(id, "ExecSync that times out", func(ctx context.Context) error {
		_, err := c.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep", "1000"}, Timeout: 1})
		return err
	})
}

// execStream reads the output of a command. The container may exit before the connection.
func (c *caller) execStream() {
	id := c.container()
	c.on(id, "Exec", func(ctx context.Context) error {
		answer, err := c.Exec(ctx, &runtimeapi.ExecRequest{ContainerId: id, Cmd: []string{"echo", "pong"}, Stdout: true})
		if err != nil {
			return err
		}
		config, err := websocket.NewConfig(strings.Replace(answer.Url, "http", "ws", 1), "http://localhost")
		if err != nil {
			return err
		}
		config.Protocol = []string{"v5.channel.k8s.io"}
		if conn, err := config.DialContext(ctx); err == nil {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			_, _ = io.Copy(io.Discard, conn)
		}
		return nil
	})
}

func (c *caller) update() {
	id := c.container()
	c.on(id, "UpdateContainerResources", func(ctx context.Context) error {
		resources := &runtimeapi.LinuxContainerResources{CpuShares: 100 + c.random.Int64N(1000)}
		_, err := c.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: resources})
		return err
	})
}

func (c *caller) updatePod() {
	id := c.pod()
	c.on(id, "UpdatePodSandboxResources", func(ctx context.Context) error {
		resources := &runtimeapi.LinuxContainerResources{CpuShares: 100 + c.random.Int64N(1000)}
		_, err := c.UpdatePodSandboxResources(ctx, &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: id, Resources: resources})
		return err
	})
}

func (c *caller) reopenLog() {
	id := c.container()
	c.on(id, "ReopenContainerLog", func(ctx context.Context) error {
		_, err := c.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id})
		return err
	})
}

func (c *caller) stop(id string) {
	ran := c.history.stageOf(id) == running // otherwise another caller may start it meanwhile
	if c.on(id, "StopContainer", func(ctx context.Context) error {
		_, err := c.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: c.random.Int64N(2)})
		return err
	}) && ran {
		c.history.advance(id, ended)
	}
}

func (c *caller) remove(id string) {
	c.history.expectRemoval(id)
	if c.on(id, "RemoveContainer", func(ctx context.Context) error {
		_, err := c.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
		return err
	}) {
		c.history.advance(id, gone)
	}
}

func (c *caller) stopPod(id string) {
	if c.on(id, "StopPodSandbox", func(ctx context.Context) error {
		_, err := c.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
		return err
	}) {
		c.history.advance(id, ended)
	}
}

func (c *caller) removePod(id string) {
	c.history.expectRemoval(id)
	if c.on(id, "RemovePodSandbox", func(ctx context.Context) error {
		_, err := c.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
		return err
	}) {
		c.history.advance(id, gone)
	}
}

// sorted returns the sorted keys of a map.
func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
