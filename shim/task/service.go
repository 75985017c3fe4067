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
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/execsync"
	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/group"
)

// Service serves the tasks of one shim.
type Service struct {
	host  *Host
	tasks *registry
}

// NewService returns a service without tasks. pods bounds the number of pods that it serves. retire
// is called when the last task is deleted and no other task is expected; from then on the service
// accepts no task.
func NewService(host *Host, pods shimoption.Pods, retire func()) *Service {
	s := &Service{host: host, tasks: newRegistry(pods, retire)}
	s.tasks.onDisconnect = host.Events.Disconnected
	return s
}

// Expect keeps the shim running until a task is created, for one minute at most. The error is
// errdefs.ErrUnavailable if the shim is already exiting.
func (s *Service) Expect(id string) error { return s.tasks.expect(id) }

// NewServer returns a server that accepts connections of the user of this process only. It serves
// the Task API under the names of v3 and v2, which have the same methods, the service by which
// tasks join the shim, and those for the logs and for ExecSync.
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
	server.RegisterService(containerlog.Service, s.logs())
	server.RegisterService(execsync.Service, &ttrpc.ServiceDesc{
		Streams: map[string]ttrpc.Stream{execsync.MethodRun: stream("run a command", s.execSync)},
	})
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

// leave stops expecting a task. If the task exists, leave kills and deletes it: its delete command
// was run, and containerd does not know the task any more.
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

// method adapts a typed call to ttrpc. A panic in it is an error of the call.
func method[Request, Response any](call func(context.Context, *Request) (*Response, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		r := new(Request)
		if err := guard.Call(ctx, "decode a request", func() error { return unmarshal(r) }); err != nil {
			return nil, err
		}
		var response *Response
		ctx = withContainerField(ctx, r)
		err := guard.Call(ctx, fmt.Sprintf("%T", r), func() (err error) {
			response, err = call(ctx, r)
			return err
		})
		return response, err
	}
}

// sender sends a message of a stream to the client. It may be called concurrently.
type sender func(proto.Message) error

// stream adapts a typed call that answers with a stream of messages to ttrpc. The client sends
// nothing after the request. The result of the call, if not nil, is the last message. A panic is an
// error of the call.
func stream[Request any](what string, call func(context.Context, *Request, sender) (proto.Message, error)) ttrpc.Stream {
	return ttrpc.Stream{
		StreamingServer: true,
		Handler: func(ctx context.Context, server ttrpc.StreamServer) (any, error) {
			r := new(Request)
			if err := guard.Call(ctx, "decode a request", func() error { return server.RecvMsg(r) }); err != nil {
				return nil, toGRPC(err)
			}
			ctx = withContainerField(ctx, r)
			last, err := guard.Value(ctx, what, func() (proto.Message, error) {
				return call(ctx, r, func(m proto.Message) error { return server.SendMsg(m) })
			})
			if err != nil || last == nil {
				return nil, toGRPC(err)
			}
			return last, nil
		},
	}
}

// withContainerField returns a context whose logger has the container's id.
func withContainerField(ctx context.Context, request any) context.Context {
	if r, ok := request.(interface{ GetID() string }); ok {
		return log.WithLogger(ctx, log.G(ctx).WithField("container", r.GetID()))
	}
	return ctx
}

// intercept converts every error to a gRPC status.
func intercept(ctx context.Context, unmarshal ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, call ttrpc.Method) (any, error) {
	ctx = log.WithLogger(ctx, log.G(ctx).WithField("method", info.FullMethod))
	response, err := call(ctx, unmarshal)
	return response, toGRPC(err)
}

// toGRPC converts an error to a gRPC status of its errdefs class.
func toGRPC(err error) error {
	if err == nil {
		return nil
	}
	return errgrpc.ToGRPC(&clientError{text: err.Error(), class: errdefs.Resolve(err)})
}

// clientError is an error reduced to its text and its class. Of an error with two causes, clients
// would otherwise print the text of the second one twice.
type clientError struct {
	text  string
	class error
}

// Error implements error.
func (e *clientError) Error() string { return e.text }

// Unwrap returns the errdefs class.
func (e *clientError) Unwrap() error { return e.class }

// find returns a task and one of its execs, nil for execID "".
func (s *Service) find(id, execID string) (*container, *exec, error) {
	c, err := s.tasks.get(id)
	if err != nil || execID == "" {
		return c, nil, err
	}
	e, err := c.exec(execID)
	return c, e, err
}

// findProcess returns a task and one of its processes, the init for execID "".
func (s *Service) findProcess(id, execID string) (*container, *process, error) {
	c, e, err := s.find(id, execID)
	switch {
	case err != nil:
		return nil, nil, err
	case e == nil:
		return c, c.init, nil
	default:
		return c, e.process, nil
	}
}

// Create implements the task service.
func (s *Service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	c, err := newContainer(s.host, r)
	if err != nil {
		s.tasks.recordNotCreated(r.ID)
		return nil, err
	}
	if err := s.tasks.reserve(c.id, c.pod); err != nil {
		return nil, err
	}
	// After a panic the id must not stay reserved: the shim would never exit.
	admitted := false
	defer func() {
		if !admitted {
			s.tasks.unreserve(r.ID)
		}
	}()
	if s.host.Creating != nil {
		s.host.Creating(c.bundle)
	}
	if err := c.create(ctx, r.Rootfs); err != nil {
		return nil, err
	}
	admitted = true
	s.tasks.add(c)
	c.publishCreated(r)
	select {
	case s.host.Created <- struct{}{}:
	default:
	}
	return &taskapi.CreateTaskResponse{Pid: uint32(c.init.pid())}, nil
}

// Start implements the task service.
func (s *Service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	c, e, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	var pid int
	if e == nil {
		pid, err = c.start(ctx)
	} else {
		pid, err = e.start(ctx)
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
	e, err := c.decodeExec(r)
	if err != nil {
		return nil, err
	}
	if err := c.addExec(e); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Delete implements the task service. A client whose first call timed out gets the result when it
// calls again.
func (s *Service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	c, e, err := s.find(r.ID, r.ExecID)
	if err != nil {
		if past := s.tasks.deleteResult(r.ID, r.ExecID); past != nil {
			return past, nil
		}
		return nil, err
	}
	return s.delete(ctx, c, e)
}

// discard kills and deletes a task in any state. It continues if the caller's context ends, and
// then stops expecting the task so that the shim can exit.
func (s *Service) discard(ctx context.Context, c *container) error {
	c.log().Warn("delete command was run for a task of a running shim; killing and deleting the task")
	result := make(chan error, 1)
	go guard.Catch(c.context(), "discard", func() {
		err := c.killInit()
		if err == nil {
			_, err = s.delete(c.context(), c, nil)
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

// delete deletes an exec, or the task if e is nil.
func (s *Service) delete(ctx context.Context, c *container, e *exec) (*taskapi.DeleteResponse, error) {
	if e != nil {
		return c.deleteExec(ctx, e, func(response *taskapi.DeleteResponse) {
			s.tasks.forget(c.id, e.execID, response)
		})
	}
	return c.init.delete(ctx, c.remove, func(response *taskapi.DeleteResponse) {
		s.tasks.forget(c.id, "", response)
		if s.host.Deleted != nil {
			s.host.Deleted(s.tasks.bundles)
		}
	})
}

// Shutdown implements the task service. containerd calls it after every deletion; the shim exits if
// it has nothing left to do.
func (s *Service) Shutdown(_ context.Context, r *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	s.tasks.leave(r.ID)
	return &emptypb.Empty{}, nil
}
