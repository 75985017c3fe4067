// SPDX-License-Identifier: Apache-2.0

// Package events tests the streams about pods and containers: GetContainerEvents, and the streamed
// lists of a node with more data than fits in one message.
//
// The expectations are those of containerd-lite. Stock containerd sends the stop of a pod after
// that of its containers, sends no event for a failed start, and blocks on a subscriber that does
// not read.
package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func TestEvents(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox)}
	if b.Options.Daemon != harness.Lite {
		t.Skip("stock containerd sends other events")
	}
	b.NoLeaks(t, "life of a pod and its containers", func(t *testing.T) { life(t, b) })
	b.NoLeaks(t, "failed start", func(t *testing.T) { failedStart(t, b) })
	b.NoLeaks(t, "pods side by side", func(t *testing.T) { sideBySide(t, b) })
	b.NoLeaks(t, "stalled reader", func(t *testing.T) { stalledReader(t, b) })
	b.NoLeaks(t, "restart", func(t *testing.T) { restart(t, b) })
	b.NoLeaks(t, "lists", func(t *testing.T) { lists(t, b) })
}

type bench struct{ harness.Session }

// stream is an active subscription.
type stream struct {
	runtimeapi.RuntimeService_GetContainerEventsClient
	last int64 // time of the last event
}

// hangTimeout bounds the wait for an event that does not arrive. It is no performance goal.
const hangTimeout = 2 * time.Minute

func (b bench) subscribe(t *testing.T) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangTimeout)
	t.Cleanup(cancel)
	s, err := b.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err == nil {
		_, err = s.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &stream{RuntimeService_GetContainerEventsClient: s}
}

// next returns the next event. Its time must be later than that of the previous event.
func (s *stream) next(t *testing.T) *runtimeapi.ContainerEventResponse {
	t.Helper()
	e, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if e.CreatedAt <= s.last {
		t.Errorf("%s of %s at %d is not later than the previous event, at %d", e.ContainerEventType, e.ContainerId, e.CreatedAt, s.last)
	}
	s.last = e.CreatedAt
	return e
}

// event has the compared fields of an event: its kind, its object, and the state of the pod and its
// containers.
type event struct {
	Kind       string
	ID         string
	Pod        string
	Containers map[string]string // id → state
}

// Kinds of events.
const (
	created = "CONTAINER_CREATED_EVENT"
	started = "CONTAINER_STARTED_EVENT"
	stopped = "CONTAINER_STOPPED_EVENT"
	deleted = "CONTAINER_DELETED_EVENT"

	ready    = "SANDBOX_READY"
	notReady = "SANDBOX_NOTREADY"
)

// expect checks that the next events are exactly these, all of one pod.
func (s *stream) expect(t *testing.T, pod string, want ...event) {
	t.Helper()
	for _, w := range want {
		e := s.next(t)
		if e.PodSandboxStatus.GetId() != pod || e.PodSandboxStatus.GetMetadata().GetUid() == "" {
			t.Errorf("%s of %s is about the pod %v, want %s", e.ContainerEventType, e.ContainerId, e.PodSandboxStatus, pod)
		}
		got := event{Kind: e.ContainerEventType.String(), ID: e.ContainerId, Pod: e.PodSandboxStatus.GetState().String(), Containers: map[string]string{}}
		for _, c := range e.ContainersStatuses {
			got.Containers[c.Id] = c.State.String()
		}
		if w.Containers == nil {
			w.Containers = map[string]string{}
		}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Fatalf("event (-want +got):\n%s", diff)
		}
	}
}

func in(id, state string) map[string]string { return map[string]string{id: "CONTAINER_" + state} }

// life runs a container that exits, then its next attempt, which is stopped with the pod.
func life(t *testing.T, b bench) {
	events := b.subscribe(t)
	config := b.PodConfig("life")
	pod := b.Pod(t, config)
	events.expect(t, pod, event{created, pod, ready, nil}, event{started, pod, ready, nil})

	first := b.run(t, pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "exit 7"))
	events.expect(t, pod,
		event{created, first, ready, in(first, "CREATED")},
		event{started, first, ready, in(first, "RUNNING")},
		event{stopped, first, ready, in(first, "EXITED")})
	b.remove(t, first)
	events.expect(t, pod, event{deleted, first, ready, nil})

	again := harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000")
	again.Metadata.Attempt = 1
	second := b.run(t, pod, config, again)
	events.expect(t, pod, event{created, second, ready, in(second, "CREATED")}, event{started, second, ready, in(second, "RUNNING")})

	if err := b.RemovePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	events.expect(t, pod,
		event{stopped, pod, notReady, in(second, "RUNNING")},
		event{stopped, second, notReady, in(second, "EXITED")},
		event{deleted, second, notReady, nil},
		event{deleted, pod, notReady, nil})
}

func failedStart(t *testing.T, b bench) {
	config := b.PodConfig("broken")
	pod := b.Pod(t, config)
	events := b.subscribe(t)
	id, err := b.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "/no/such/program"))
	if err == nil || id == "" {
		t.Fatalf("a container without a program: %q, %v, want one that does not start", id, err)
	}
	events.expect(t, pod, event{created, id, ready, in(id, "CREATED")}, event{stopped, id, ready, in(id, "EXITED")})
}

// sideBySide checks that every event of many pods arrives once, in the order of its object.
func sideBySide(t *testing.T, b bench) {
	const pods = 8
	events := b.subscribe(t)
	var all sync.WaitGroup
	for i := range pods {
		all.Go(func() {
			config := b.PodConfig(fmt.Sprintf("side-%d", i))
			pod, err := b.RunPod(t.Context(), config)
			if err == nil {
				_, err = b.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "true"))
			}
			if err = errors.Join(err, b.RemovePod(harness.After(t), pod)); err != nil {
				t.Errorf("pod %d: %v", i, err)
			}
		})
	}
	all.Wait()
	seen := map[string][]string{}
	for range pods * 2 * 4 {
		e := events.next(t)
		seen[e.ContainerId] = append(seen[e.ContainerId], e.ContainerEventType.String())
	}
	for id, got := range seen {
		if diff := cmp.Diff([]string{created, started, stopped, deleted}, got); diff != "" {
			t.Errorf("events of %s (-want +got):\n%s", id, diff)
		}
	}
	if len(seen) != 2*pods {
		t.Errorf("events of %d objects, want %d", len(seen), 2*pods)
	}
}

// stalledReader subscribes and does not read while pods start and stop, until the daemon ends the
// subscription. A daemon that blocks on the subscriber never gets there. A second subscriber must
// miss nothing.
func stalledReader(t *testing.T, b bench) {
	// On its own connection: gRPC enlarges the window of a busy connection for all of its streams.
	own, err := b.Bench.CRI()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	stalled, quick := bench{harness.Session{Bench: b.Bench, CRI: own}}.subscribe(t), b.subscribe(t)
	const pods, workers = 600, 12 // four events for each: more than the queue of a subscriber
	told := make(chan int)
	go func() { told <- count(quick, "stall-last-uid") }()
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := range pods / workers {
				if err := b.come(t.Context(), fmt.Sprintf("stall-%d-%d", worker, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := b.come(t.Context(), "stall-last"); err != nil {
		t.Fatal(err)
	}
	if got, want := <-told, 4*(pods+1); got != want {
		t.Errorf("the reading subscriber got %d events, want %d", got, want)
	}
	for err == nil {
		_, err = stalled.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the stalled subscription ended with %v, want ResourceExhausted", err)
	}
}

// count counts events until the deletion of a pod, or an error.
func count(s *stream, lastUID string) int {
	for got := 1; ; got++ {
		e, err := s.Recv()
		if err != nil {
			return got - 1
		}
		if e.ContainerEventType.String() == deleted && e.PodSandboxStatus.GetMetadata().GetUid() == lastUID {
			return got
		}
	}
}

// come runs and removes a pod that is cheap to start.
func (b bench) come(ctx context.Context, name string) error {
	config := b.PodConfig(name)
	harness.OnHostNetwork(config)
	// Large events fill the connection quickly.
	config.Annotations = map[string]string{"note": strings.Repeat("x", 16<<10)}
	pod, err := b.RunPod(ctx, config)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return b.RemovePod(ctx, pod)
}

// restart lets a container exit while no daemon runs. A subscription ends with the daemon. A client
// that subscribes to the next daemon and then lists finds the exit in the list, and gets every
// later event once.
func restart(t *testing.T, b bench) {
	events := b.subscribe(t)
	config := b.PodConfig("restart")
	pod := b.Pod(t, config)
	id := b.run(t, pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	other := b.run(t, pod, config, harness.ContainerConfig(config, "other", image.Busybox, "sleep", "1000"))
	for range 6 {
		events.next(t)
	}
	pid := b.pid(t, id)
	if err := b.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if e, err := events.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the subscription after the daemon's exit: %v, %v, want Unavailable", e, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "root", "bin")); err == nil {
			return fmt.Errorf("process %d still exists", pid)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := b.subscribe(t)
	ended, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	if s := ended.Status; s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
		t.Errorf("the killed container is %s with exit code %d", s.State, s.ExitCode)
	}
	if _, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: other}); err != nil {
		t.Fatal(err)
	}
	b.remove(t, id)
	states := in(id, "EXITED")
	states[other] = "CONTAINER_EXITED"
	again.expect(t, pod,
		event{stopped, other, ready, states},
		event{deleted, id, ready, in(other, "EXITED")})
}

func (b bench) pid(t *testing.T, id string) int {
	t.Helper()
	answer, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	var info struct{ PID int }
	if err := json.Unmarshal([]byte(answer.Info["info"]), &info); err != nil || info.PID == 0 {
		t.Fatalf("pid of container %s: %v in %s", id, err, answer.Info["info"])
	}
	return info.PID
}

func (b bench) run(t *testing.T, pod string, podConfig *runtimeapi.PodSandboxConfig, config *runtimeapi.ContainerConfig) string {
	t.Helper()
	id, err := b.Run(t.Context(), pod, podConfig, config)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (b bench) remove(t *testing.T, id string) {
	t.Helper()
	if _, err := b.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
}
