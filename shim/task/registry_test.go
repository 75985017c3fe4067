// SPDX-License-Identifier: Apache-2.0

package task

import (
	"testing"
	"testing/synctest"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/sharing"
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

// A task that has joined keeps the shim from ending until it comes, or is
// given up.
func TestShutdownWaitsForGuests(t *testing.T) {
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
		t.Fatal("shim retired with a guest")
	}
	s.shutdown("web")
	<-s.retired
	wantClass(t, join("db"), errdefs.IsUnavailable, "unavailable")
}

// The word of a container does not end the shim while the answer to the deletion of the last task
// is under way.
func TestShutdownWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		g := newRegistry(sharing.Pod, func() { ended = true })
		for _, id := range []string{"pod", "web"} {
			if err := g.reserve(id, "pod"); err != nil {
				t.Fatal(err)
			}
			g.forget(id, "", &taskapi.DeleteResponse{})
		}
		g.leave("web")
		synctest.Wait()
		if ended {
			t.Fatal("the shim ended before containerd had the answer for the pod")
		}
		g.leave("pod")
		synctest.Wait()
		if !ended {
			t.Error("the shim stays with nothing left to do")
		}
		g.stopTimers()
	})
}

// Some containerds tell the shim to end for the last task of a pod only.
func TestShutdownThatComesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		g := newRegistry(sharing.Pod, func() { ended = true })
		for _, id := range []string{"web", "pod"} {
			if err := g.reserve(id, "pod"); err != nil {
				t.Fatal(err)
			}
			g.forget(id, "", &taskapi.DeleteResponse{})
		}
		g.leave("pod")
		time.Sleep(answerTimeout)
		synctest.Wait()
		if !ended {
			t.Error("the shim waits for a word that does not come")
		}
		g.stopTimers()
	})
}

// That containerd has ended is seen by its last connection.
func TestAlone(t *testing.T) {
	g := newRegistry(sharing.Pod, func() {})
	defer g.stopTimers()
	alone := 0
	g.alone = func() { alone++ }
	g.count(1)
	g.count(1)
	g.count(-1)
	if alone != 0 {
		t.Error("with one connection left")
	}
	g.count(-1)
	if alone != 1 {
		t.Errorf("told %d times, want once", alone)
	}
}

func TestIdleNeedsNobody(t *testing.T) {
	g := newRegistry(sharing.Pod, func() {})
	defer g.stopTimers()
	armed := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.idle != nil
	}
	g.count(1)
	if err := g.reserve("web", "web"); err != nil {
		t.Fatal(err)
	}
	g.release("web")
	if armed() {
		t.Error("idle with a connection")
	}
	if err := g.expect("web"); err != nil {
		t.Fatal(err)
	}
	g.count(-1)
	if armed() {
		t.Error("idle with a guest")
	}
	if err := g.reserve("web", "web"); err != nil {
		t.Fatal(err)
	}
	g.release("web")
	if !armed() {
		t.Error("not idle with nobody there")
	}
}

// A pod counts once, however many tasks it has, from its announcement on.
func TestRoomForPods(t *testing.T) {
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
		{"container of a pod that is there", func() error { return g.expect("a2") }, nil},
		{"the second pod is called off", func() error { g.leave("b"); g.leave("a2"); return nil }, nil},
		{"third pod, now", func() error { return g.expectPod("c") }, nil},
		{"second pod, too late", func() error { return g.expectPod("b") }, errdefs.IsResourceExhausted},
	}
	for _, step := range steps {
		if err := step.do(); step.want == nil && err != nil || step.want != nil && !step.want(err) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	g.leave("c")
}
