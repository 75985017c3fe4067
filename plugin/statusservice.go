// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// Status is what the daemon does now, and what it has done in the last hour. It is read from
// memory, so it is returned at once whatever is stuck.
type Status struct {
	Began      time.Time `json:"began"` // of the daemon
	Pods       int       `json:"pods"`
	Ready      int       `json:"ready"` // pods
	Containers int       `json:"containers"`
	Running    int       `json:"running"` // containers
	Goroutines int       `json:"goroutines"`
	Panics     int64     `json:"panics"` // recovered ones
	// Calls are the calls in progress, and Ended those of the last hour that were asked for.
	Calls []Activity `json:"calls"`
	Ended []Activity `json:"ended"`
}

// Activity is a call with the name of its pod, as NAMESPACE/NAME, or "" if it is of no known pod.
type Activity struct {
	activity.Call
	Pod string `json:"pod,omitempty"`
}

// IsOf reports whether the call is about the pod with this name, with or without its namespace.
func (a Activity) IsOf(pod string) bool {
	_, short, _ := strings.Cut(a.Pod, "/")
	return pod != "" && (pod == a.Pod || pod == short)
}

// maxErrors is how many of the calls that returned an error are in a status.
const maxErrors = 50

// The gRPC service that returns what the daemon knows of itself. It is not part of the CRI, and is
// served only on containerd's socket, which only root can open.
const (
	statusService = "containerdlite.v1.Status"
	statusMethod  = "Get"
	recordsMethod = "Records"
	stacksMethod  = "Stacks"
	maxStatus     = 64 << 20 // bytes
)

var statusDesc = grpc.ServiceDesc{
	ServiceName: statusService,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		statusCall(statusMethod, func(s *Service, pod string) ([]byte, error) { return json.Marshal(s.status(pod)) }),
		statusCall(recordsMethod, func(s *Service, _ string) ([]byte, error) { return json.Marshal(s.records()) }),
		statusCall(stacksMethod, func(*Service, string) ([]byte, error) { return stacks(), nil }),
	},
}

// statusCall returns a method of the service.
func statusCall(name string, answer func(s *Service, argument string) ([]byte, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var argument wrapperspb.StringValue
		if err := decode(&argument); err != nil {
			return nil, err
		}
		data, err := guard.Value(ctx, "status: "+name, func() ([]byte, error) {
			return answer(srv.(*Service), argument.GetValue()) //nolint:forcetypeassert // it was registered with one
		})
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		return wrapperspb.Bytes(data), nil
	}}
}

// maxStacks bounds the stacks of all goroutines, in bytes. containerd sends answers of at most 16
// MiB by default.
const maxStacks = 15 << 20

// stacks returns the stacks of all goroutines of the daemon.
func stacks() []byte {
	buf := make([]byte, maxStacks)
	return buf[:goruntime.Stack(buf, true)]
}

// status returns the status. The ended calls in it are those of the pod with this name, with or
// without its namespace; or, for "", the last ones that returned an error.
func (s *Service) status(podName string) Status {
	now := Status{Began: s.began, Goroutines: goruntime.NumGoroutine(), Panics: guard.Count()}
	names := podNames{}
	for _, p := range s.pods.List() {
		now.Pods++
		if p.State == pod.Ready {
			now.Ready++
		}
		names[p.ID] = p.Config.GetMetadata().GetNamespace() + "/" + p.Config.GetMetadata().GetName()
	}
	for _, c := range s.containers.List() {
		now.Containers++
		if c.State() == runtimeapi.ContainerState_CONTAINER_RUNNING {
			now.Running++
		}
		names[c.ID] = names[c.PodID]
	}
	ended := s.activity.Ended()
	names.learn(ended) // of those that are removed
	for _, c := range s.activity.Running() {
		now.Calls = append(now.Calls, Activity{c, names.of(c)})
	}
	for _, c := range ended {
		call := Activity{c, names.of(c)}
		switch {
		case podName == "" && c.Error != "":
			call.Steps = nil
		case !call.IsOf(podName):
			continue
		}
		now.Ended = append(now.Ended, call)
	}
	if podName == "" && len(now.Ended) > maxErrors {
		now.Ended = now.Ended[len(now.Ended)-maxErrors:]
	}
	return now
}

// podNames are the names of the pods of pods and containers, by ID.
type podNames map[string]string

// learn adds the pods and containers that calls have created.
func (n podNames) learn(calls []activity.Call) {
	for _, c := range calls {
		if c.Created != "" && n[c.Created] == "" {
			n[c.Created] = n.of(c)
		}
	}
}

// of returns the name of the pod that a call is about. RunPodSandbox has the name itself.
func (n podNames) of(c activity.Call) string {
	p := c.Objects["pod"]
	if strings.Contains(p, "/") {
		return p
	}
	return cmp.Or(n[p], n[c.Objects["container"]])
}

// GetStatus asks the daemon behind a connection for its status. pod is the name of the pod whose
// ended calls are returned; "" stands for those that returned an error.
func GetStatus(ctx context.Context, conn grpc.ClientConnInterface, pod string) (Status, error) {
	data, err := ask(ctx, conn, statusMethod, pod)
	if err != nil {
		return Status{}, err
	}
	var now Status
	if err := json.Unmarshal(data, &now); err != nil {
		return Status{}, fmt.Errorf("decode status: %w", err)
	}
	return now, nil
}

// GetRecords asks the daemon behind a connection for its [Records], as JSON.
func GetRecords(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error) {
	return ask(ctx, conn, recordsMethod, "")
}

// GetStacks asks the daemon behind a connection for the stacks of its goroutines.
func GetStacks(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error) {
	return ask(ctx, conn, stacksMethod, "")
}

func ask(ctx context.Context, conn grpc.ClientConnInterface, method, argument string) ([]byte, error) {
	var answer wrapperspb.BytesValue
	err := conn.Invoke(ctx, "/"+statusService+"/"+method, wrapperspb.String(argument), &answer, grpc.MaxCallRecvMsgSize(maxStatus))
	return answer.GetValue(), err
}
