// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"os"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/logapi"
	"github.com/containerd-lite/containerd-lite/internal/sharing"
	"github.com/containerd-lite/containerd-lite/shim/group"
)

// Service serves the tasks of one shim.
type Service struct {
	host  *Host
	tasks *registry
}

// NewService returns a service without tasks for a number of pods. retire is
// called when the last task is gone and nobody else is expected; no task is
// accepted from then on.
func NewService(host *Host, pods sharing.Pods, retire func()) *Service {
	s := &Service{host: host, tasks: newRegistry(pods, retire)}
	s.tasks.alone = host.Events.Disconnected
	return s
}

// Expect keeps the shim from ending before a task has come, or some time has
// passed. The error is errdefs.ErrUnavailable if it is ending already.
func (s *Service) Expect(id string) error { return s.tasks.expect(id) }

// NewServer returns a server for the user of this process. It has the task
// service, under the names of its two versions, which differ in nothing else,
// the service by which tasks join, and that of their logs.
func (s *Service) NewServer() (*ttrpc.Server, error) {
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(s.tasks), ttrpc.WithUnaryServerInterceptor(intercept))
	if err != nil {
		return nil, fmt.Errorf("task service: %w", err)
	}
	methods := map[string]ttrpc.Method{
		"State":      method(s.State),
		"Create":     method(s.Create),
		"Start":      method(s.Start),
		"Delete":     method(s.Delete),
		"Pids":       method(s.Pids),
		"Pause":      method(s.Pause),
		"Resume":     method(s.Resume),
		"Checkpoint": method(s.Checkpoint),
		"Kill":       method(s.Kill),
		"Exec":       method(s.Exec),
		"ResizePty":  method(s.ResizePty),
		"CloseIO":    method(s.CloseIO),
		"Update":     method(s.Update),
		"Wait":       method(s.Wait),
		"Stats":      method(s.Stats),
		"Connect":    method(s.Connect),
		"Shutdown":   method(s.Shutdown),
	}
	server.RegisterService("containerd.task.v3.Task", &ttrpc.ServiceDesc{Methods: methods})
	server.RegisterService("containerd.task.v2.Task", &ttrpc.ServiceDesc{Methods: methods})
	server.RegisterService(group.Service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			group.Join:    method(s.join),
			group.JoinPod: method(s.joinPod),
			group.Leave:   method(s.leave),
		},
	})
	server.RegisterService(logapi.Service, s.logs())
	return server, nil
}

func (s *Service) join(_ context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	if err := s.tasks.expect(r.ID); err != nil {
		return nil, err
	}
	return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid())}, nil
}

func (s *Service) joinPod(_ context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	if err := s.tasks.expectPod(r.ID); err != nil {
		return nil, err
	}
	return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid())}, nil
}

// leave gives up a task: it does not come or, should it be there, its delete command has cleaned up
// after it, and containerd does not know it any more.
func (s *Service) leave(ctx context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	if c, err := s.tasks.get(r.ID); err == nil {
		if err := s.discard(ctx, c); err != nil {
			return nil, err
		}
	}
	s.tasks.leave(r.ID)
	return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid())}, nil
}

var _ taskapi.TTRPCTaskService = (*Service)(nil)

// method adapts a typed call to ttrpc.
func method[Request, Response any](call func(context.Context, *Request) (*Response, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		r := new(Request)
		if err := guard.Call(ctx, "decode a request", func() error { return unmarshal(r) }); err != nil {
			return nil, err
		}
		var response *Response
		ctx = naming(ctx, r)
		err := guard.Call(ctx, fmt.Sprintf("%T", r), func() (err error) {
			response, err = call(ctx, r)
			return err
		})
		return response, err
	}
}

// naming returns a context for a request. What is logged with it names the container.
func naming(ctx context.Context, request any) context.Context {
	if r, ok := request.(interface{ GetID() string }); ok {
		return log.WithLogger(ctx, log.G(ctx).WithField("container", r.GetID()))
	}
	return ctx
}

// intercept gives every error its code.
func intercept(ctx context.Context, unmarshal ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, call ttrpc.Method) (any, error) {
	ctx = log.WithLogger(ctx, log.G(ctx).WithField("method", info.FullMethod))
	response, err := call(ctx, unmarshal)
	return response, toGRPC(err)
}

// toGRPC gives an error its code.
func toGRPC(err error) error {
	if err == nil {
		return nil
	}
	return errgrpc.ToGRPC(&answer{text: err.Error(), class: errdefs.Resolve(err)})
}

// answer is an error reduced to what a client gets. Left as it is, an error
// with two causes repeats the text of the second in every client.
type answer struct {
	text  string
	class error
}

// Error implements error.
func (a *answer) Error() string { return a.text }

// Unwrap returns the class.
func (a *answer) Unwrap() error { return a.class }

// find returns a task and one of its processes, the init for "".
func (s *Service) find(id, execID string) (*container, *process, error) {
	c, err := s.tasks.get(id)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.find(execID)
	return c, p, err
}

// Create implements the task service.
func (s *Service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	c, err := newContainer(s.host, r)
	if err != nil {
		s.tasks.refuse(r.ID)
		return nil, err
	}
	if err := s.tasks.reserve(c.id, c.pod); err != nil {
		return nil, err
	}
	// A panic must not keep the name, and the shim with it, for ever.
	admitted := false
	defer func() {
		if !admitted {
			s.tasks.release(r.ID)
		}
	}()
	if err := c.create(ctx, r.Rootfs); err != nil {
		return nil, err
	}
	admitted = true
	s.tasks.admit(c)
	c.announceCreated(r)
	return &taskapi.CreateTaskResponse{Pid: uint32(c.initPid())}, nil
}

// Start implements the task service.
func (s *Service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	c, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	var pid int
	if p.isInit() {
		pid, err = c.start(ctx)
	} else {
		pid, err = c.startExec(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	return &taskapi.StartResponse{Pid: uint32(pid)}, nil
}

// Exec implements the task service.
func (s *Service) Exec(_ context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.addExec(r); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Delete implements the task service. A client that gave up too early gets the
// result when it asks again.
func (s *Service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	c, p, err := s.find(r.ID, r.ExecID)
	if err != nil {
		if past := s.tasks.recall(r.ID, r.ExecID); past != nil {
			return past, nil
		}
		return nil, err
	}
	return s.delete(ctx, c, p)
}

// discard ends and deletes a task in whatever state it is. The work goes on if the caller gives up
// waiting, and then frees the shim, too.
func (s *Service) discard(ctx context.Context, c *container) error {
	c.log().Warn("task discarded: its delete command was run although its shim is there")
	result := make(chan error, 1)
	go guard.Catch(c.context(), "discard", func() {
		err := c.endInit()
		if err == nil {
			_, err = s.delete(c.context(), c, c.init)
		}
		if err == nil {
			s.tasks.leave(c.id)
		}
		result <- err
	}, func(err error) { result <- err })()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("container %s: discard: %w", c.id, ctx.Err())
	}
}

func (s *Service) delete(ctx context.Context, c *container, p *process) (*taskapi.DeleteResponse, error) {
	return c.delete(ctx, p, func(response *taskapi.DeleteResponse) {
		s.tasks.forget(c.id, p.execID, response)
		if p.isInit() && s.host.Deleted != nil {
			s.host.Deleted(s.tasks.bundles)
		}
	})
}

// Shutdown implements the task service. containerd asks after every deletion;
// the shim ends if it has nothing left to do.
func (s *Service) Shutdown(_ context.Context, r *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	s.tasks.leave(r.ID)
	return &emptypb.Empty{}, nil
}
