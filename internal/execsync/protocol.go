// SPDX-License-Identifier: Apache-2.0

package execsync

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/anypb"
)

// Service is the name of the ttrpc service.
const Service = "containerd.lite.shim.v1.Exec"

// MethodRun runs a command in a task. The request is an ExecProcessRequest whose spec is a
// [Command]. The answer is a stream of Any, of which the type URL says what the value is: [Stdout]
// or [Stderr] for a chunk of output, [Exited] for an exit code.
//
// The last message is the exit code. If the process has exited and another process holds its output
// open, the exit code is also sent at once, and the stream goes on until the output ends. The
// error is never errdefs.ErrNotImplemented: only a shim without the service returns it.
const MethodRun = "Run"

// The type URLs of the messages.
const (
	Stdout = "stdout"
	Stderr = "stderr"
	Exited = "exited"
)

const (
	// MaxOutput is the number of bytes that are sent of each stream. The rest of the output is
	// read and dropped, so that the command continues.
	MaxOutput = 16_000_000
	// MaxChunk is the number of bytes in a message. ttrpc keeps up to 64 messages of a stream in
	// the daemon, which are not counted as output: probes with endless output must not exhaust
	// its memory (CVE-2022-31030).
	MaxChunk = 8 << 10
)

// Command is what a request runs. Everything else is as for the init of the container.
type Command struct {
	Args []string `json:"args"`
	// Timeout is the time after which the command is killed, or the wait for its output ends; 0
	// means no limit. The daemon closes the connection at the same time, unless it is stopped.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Request returns the request that runs a command in a task. execID identifies the process to
// clients of the Task API while it runs.
func (c Command) Request(task, execID string) (*taskapi.ExecProcessRequest, error) {
	spec, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return &taskapi.ExecProcessRequest{ID: task, ExecID: execID, Spec: &anypb.Any{Value: spec}}, nil
}

// ParseRequest returns the command of a request. The error is errdefs.ErrInvalidArgument.
func ParseRequest(r *taskapi.ExecProcessRequest) (c Command, err error) {
	if err := json.Unmarshal(r.GetSpec().GetValue(), &c); err != nil {
		return c, fmt.Errorf("command: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	return c, nil
}

// Exit returns the message that reports an exit code.
func Exit(code int) *anypb.Any {
	return &anypb.Any{TypeUrl: Exited, Value: strconv.AppendInt(nil, int64(code), 10)}
}

// ParseExit returns the exit code of a message.
func ParseExit(m *anypb.Any) (uint32, error) {
	code, err := strconv.ParseUint(string(m.GetValue()), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("exit code of a command: %w", err)
	}
	return uint32(code), nil
}
