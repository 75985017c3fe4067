// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

// shims is a fake of the processes that launch starts. Each accepts room tasks and then reports
// that it has no room.
type shims struct {
	t    *testing.T
	room int

	mu    sync.Mutex
	tasks map[string][]string // by socket path
	asked int
	stop  map[string]func()
}

func newShims(t *testing.T, room int) *shims {
	return &shims{t: t, room: room, tasks: map[string][]string{}, stop: map[string]func(){}}
}

func (s *shims) launch(id string) func(Slot, *os.File) error {
	return func(slot Slot, socket *os.File) error {
		l, err := net.FileListener(socket)
		if err != nil {
			return err
		}
		server, err := ttrpc.NewServer()
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tasks[slot.Path()] = []string{id}
		server.RegisterService(Service, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
			Join: s.join(slot), JoinPod: s.join(slot),
		}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(context.Background(), l)
		}()
		s.stop[slot.Path()] = sync.OnceFunc(func() {
			_ = server.Close()
			<-done
		})
		s.t.Cleanup(s.stop[slot.Path()])
		return nil
	}
}

func (s *shims) join(slot Slot) ttrpc.Method {
	return func(_ context.Context, unmarshal func(any) error) (any, error) {
		r := &taskapi.ConnectRequest{}
		if err := unmarshal(r); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		if len(s.tasks[slot.Path()]) >= s.room {
			return nil, errgrpc.ToGRPC(fmt.Errorf("no room: %w", errdefs.ErrResourceExhausted))
		}
		s.tasks[slot.Path()] = append(s.tasks[slot.Path()], r.ID)
		return &taskapi.ConnectResponse{}, nil
	}
}

// claim claims slots for n tasks concurrently.
func (s *shims) claim(g Group, n int) {
	s.t.Helper()
	var starting sync.WaitGroup
	for i := range n {
		starting.Go(func() {
			id := fmt.Sprintf("task%d", i)
			if _, err := g.Claim(s.t.Context(), id, s.launch(id)); err != nil {
				s.t.Error(err)
			}
		})
	}
	starting.Wait()
}

// Concurrent starts do not start more shims than needed.
func TestClaim(t *testing.T) {
	for _, test := range []struct {
		name  string
		pods  shimoption.Pods
		room  int
		tasks int
		want  int
	}{
		{"tasks of one pod", shimoption.Pod, 100, 10, 1},
		{"pods of the node", shimoption.Node, 100, 10, 1},
		{"four pods each", 4, 4, 10, 3},
		{"exactly full", 4, 4, 8, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShims(t, test.room)
			s.claim(newGroup(t, test.pods), test.tasks)
			if len(s.tasks) != test.want {
				t.Errorf("%d shims, want %d: %v", len(s.tasks), test.want, s.tasks)
			}
		})
	}
}

// The shim that was joined last is asked first.
func TestClaimPrefersLastJoined(t *testing.T) {
	s, g := newShims(t, 4), newGroup(t, 4)
	s.claim(g, 18) // the fifth shim has two tasks
	s.asked = 0
	for _, want := range []int{1, 2} {
		if _, err := g.Claim(t.Context(), "next", s.launch("next")); err != nil {
			t.Fatal(err)
		}
		if s.asked != want {
			t.Errorf("%d shims were asked in total, want %d", s.asked, want)
		}
	}
}

// A shim that does not answer keeps its slot, and a lost shim does not. Neither keeps a pod from
// starting.
func TestClaimSkipsBrokenShims(t *testing.T) {
	s, g := newShims(t, 1), newGroup(t, shimoption.Node)
	stop := serve(t, g.slot(0), errdefs.ErrInternal)
	claim := func(want Slot) {
		t.Helper()
		got, err := g.Claim(t.Context(), "web", s.launch("web"))
		if err != nil || got != want {
			t.Errorf("slot %s, %v, want %s", got.Path(), err, want.Path())
		}
	}
	claim(g.slot(1))
	s.stop[g.slot(1).Path()]()
	claim(g.slot(1))
	stop()
	claim(g.slot(0))
}

func TestClaimLaunchError(t *testing.T) {
	g := newGroup(t, shimoption.Node)
	broken := errors.New("no memory")
	if _, err := g.Claim(t.Context(), "web", func(Slot, *os.File) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error = %v, want that of launch", err)
	}
	dir := g.path[:strings.LastIndex(g.path, "/")]
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}
