// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// cancellingContainerd cancels the caller's context in NewTask.
type cancellingContainerd struct {
	Containerd
	cancel  context.CancelFunc
	newTask context.Context // that NewTask got
}

func (*cancellingContainerd) CreateContainer(context.Context, runtime.Container) error { return nil }

func (h *cancellingContainerd) NewTask(ctx context.Context, _ string, _ cio.Creator, _ runtime.TaskOptions) (runtime.Task, error) {
	h.cancel()
	h.newTask = ctx
	return nil, errors.Join(errBroken, ctx.Err())
}

// Cancellation of the caller does not reach the creation of a task, which would leave an unknown
// shim. The deadline does.
func TestTaskStartIsNotCancelled(t *testing.T) {
	until := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), until)
	defer cancel()
	h := &cancellingContainerd{cancel: cancel}
	runner := Runner{
		Containerd: h,
		Handlers:   fakeHandlers{},
		Spec:       func(specgen.PodRequest) (*specs.Spec, error) { return &specs.Spec{}, nil },
	}
	_, err := runner.Start(ctx, &Record{ID: "pod1"})
	if !errors.Is(err, errBroken) || errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v", err)
	}
	if deadline, ok := h.newTask.Deadline(); !ok || !deadline.Equal(until) {
		t.Errorf("deadline of NewTask %v, want %v", deadline, until)
	}
}
