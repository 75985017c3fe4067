// SPDX-License-Identifier: Apache-2.0

package task

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/group"
)

func (s *shim) shutdown(id string) {
	s.t.Helper()
	if _, err := s.client.Shutdown(s.t.Context(), &taskapi.ShutdownRequest{ID: id}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shim) isRetired() bool {
	s.service.tasks.mu.Lock()
	defer s.service.tasks.mu.Unlock()
	return s.service.tasks.retired
}

func TestShutdownWaitsForTasks(t *testing.T) {
	s := newShim(t)
	s.runToEnd("web", "true")
	s.shutdown("web")
	if s.isRetired() {
		t.Fatal("shim retired with a task")
	}
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	s.shutdown("web")
	<-s.retired
	_, err := s.client.Create(t.Context(), s.request("web", true, "true"))
	wantClass(t, err, errdefs.IsUnavailable, "unavailable")
}

// An expected task keeps the shim running until it is created, or until the join is canceled.
func TestShutdownWaitsForExpectedTasks(t *testing.T) {
	s := newShim(t)
	client := s.dial()
	defer client.Close()
	join := func(id string) error {
		return client.Call(t.Context(), group.Service, group.Join, &taskapi.ConnectRequest{ID: id}, &taskapi.ConnectResponse{})
	}
	if err := join("web"); err != nil {
		t.Fatal(err)
	}
	s.shutdown("db")
	if s.isRetired() {
		t.Fatal("shim retired with an expected task")
	}
	s.shutdown("web")
	<-s.retired
	wantClass(t, join("db"), errdefs.IsUnavailable, "unavailable")
}

// A Shutdown for a container does not end the shim while the response to the deletion of the last
// task is in transit.
func TestShutdownWaitsForResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retired := false
		g := newRegistry(shimoption.Pod, func() { retired = true })
		for _, id := range []string{"pod", "web"} {
			if err := g.reserve(id, "pod"); err != nil {
				t.Fatal(err)
			}
			g.forget(id, "", &taskapi.DeleteResponse{})
		}
		g.leave("web")
		synctest.Wait()
		if retired {
			t.Fatal("the shim retired before the response for the pod was sent")
		}
		g.leave("pod")
		synctest.Wait()
		if !retired {
			t.Error("the shim does not retire with nothing left to do")
		}
		g.stopTimers()
	})
}

// containerd 1.7 and 2.0 call no Shutdown for a pod with a sandbox, and stay connected.
func TestDeletionOfThePodWithoutShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retired := false
		g := newRegistry(shimoption.Pod, func() { retired = true })
		g.addConns(1)
		for _, id := range []string{"pod", "web"} {
			if err := g.reserve(id, "pod"); err != nil {
				t.Fatal(err)
			}
		}
		g.forget("web", "", &taskapi.DeleteResponse{})
		time.Sleep(responseTimeout)
		synctest.Wait()
		if retired {
			t.Fatal("the shim retired before its pod")
		}
		g.forget("pod", "", &taskapi.DeleteResponse{})
		time.Sleep(responseTimeout)
		synctest.Wait()
		if !retired {
			t.Error("the shim does not retire without a Shutdown")
		}
		g.stopTimers()
	})
}

// A containerd that was killed before it created the task of its shim connects to the shim again.
func TestTaskIsNeverCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var retired atomic.Bool
		g := newRegistry(shimoption.Pod, func() { retired.Store(true) })
		if err := g.expectPod("pod"); err != nil {
			t.Fatal(err)
		}
		g.addConns(1)
		time.Sleep(expectTimeout - time.Second)
		synctest.Wait()
		if retired.Load() {
			t.Fatal("the shim retired before the time for the Create was over")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !retired.Load() {
			t.Error("the shim stays without a task as long as containerd is connected")
		}
		g.stopTimers()
	})
}

// Some versions of containerd call Shutdown only for the last task of a pod.
func TestShutdownOfTheLastTaskOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retired := false
		g := newRegistry(shimoption.Pod, func() { retired = true })
		for _, id := range []string{"web", "pod"} {
			if err := g.reserve(id, "pod"); err != nil {
				t.Fatal(err)
			}
			g.forget(id, "", &taskapi.DeleteResponse{})
		}
		g.leave("pod")
		time.Sleep(responseTimeout)
		synctest.Wait()
		if !retired {
			t.Error("the shim does not retire without a second Shutdown")
		}
		g.stopTimers()
	})
}

// The shim sees by its last connection that containerd has exited.
func TestOnDisconnect(t *testing.T) {
	g := newRegistry(shimoption.Pod, func() {})
	defer g.stopTimers()
	calls := 0
	g.onDisconnect = func() { calls++ }
	g.addConns(1)
	g.addConns(1)
	g.addConns(-1)
	if calls != 0 {
		t.Error("called with one connection left")
	}
	g.addConns(-1)
	if calls != 1 {
		t.Errorf("called %d times, want once", calls)
	}
}

func TestIdleTimer(t *testing.T) {
	g := newRegistry(shimoption.Pod, func() {})
	defer g.stopTimers()
	armed := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.idle != nil
	}
	g.addConns(1)
	if err := g.reserve("web", "web"); err != nil {
		t.Fatal(err)
	}
	g.unreserve("web")
	if armed() {
		t.Error("idle timer with a connection")
	}
	if err := g.expect("web"); err != nil {
		t.Fatal(err)
	}
	g.addConns(-1)
	if armed() {
		t.Error("idle timer with an expected task")
	}
	if err := g.reserve("web", "web"); err != nil {
		t.Fatal(err)
	}
	g.unreserve("web")
	if !armed() {
		t.Error("no idle timer without connections and tasks")
	}
}

// A pod counts once, however many tasks it has, from its JoinPod on.
func TestPodLimit(t *testing.T) {
	g := newRegistry(2, func() {})
	steps := []struct {
		name string
		do   func() error
		want func(error) bool
	}{
		{"first pod", func() error { return g.expectPod("a") }, nil},
		{"first pod again", func() error { return g.expectPod("a") }, nil},
		{"its task", func() error { return g.reserve("a", "a") }, nil},
		{"its container", func() error { return g.reserve("a1", "a") }, nil},
		{"second pod", func() error { return g.expectPod("b") }, nil},
		{"third pod", func() error { return g.expectPod("c") }, errdefs.IsResourceExhausted},
		{"container of a present pod", func() error { return g.expect("a2") }, nil},
		{"the second pod leaves", func() error { g.leave("b"); g.leave("a2"); return nil }, nil},
		{"third pod again", func() error { return g.expectPod("c") }, nil},
		{"second pod, too late", func() error { return g.expectPod("b") }, errdefs.IsResourceExhausted},
	}
	for _, step := range steps {
		if err := step.do(); step.want == nil && err != nil || step.want != nil && !step.want(err) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	g.leave("c")
}
