// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// halfway is a containerd whose caller gives up while it makes a task.
type halfway struct {
	Containerd
	giveUp  context.CancelFunc
	newTask context.Context
}

func (*halfway) CreateContainer(context.Context, runtime.Container) error { return nil }

func (h *halfway) NewTask(ctx context.Context, _ string, _ cio.Creator, _ runtime.TaskOptions) (runtime.Task, error) {
	h.giveUp()
	h.newTask = ctx
	return nil, errors.Join(errBroken, ctx.Err())
}

// The start of a task is not cut short: its shim would be left, and nobody would know of it. It has
// its time limit still.
func TestStartOfATaskIsNotCancelled(t *testing.T) {
	until := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), until)
	defer cancel()
	h := &halfway{giveUp: cancel}
	runner := Runner{
		Containerd: h,
		Handlers:   fakeHandlers{},
		Spec:       func(*Record, config.Handler) (*specs.Spec, error) { return &specs.Spec{}, nil },
	}
	_, err := runner.Start(ctx, &Record{ID: "pod1"})
	if !errors.Is(err, errBroken) || errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v", err)
	}
	if deadline, ok := h.newTask.Deadline(); !ok || !deadline.Equal(until) {
		t.Errorf("the task may take until %v, want %v", deadline, until)
	}
}
