// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/enter"
)

// conversation is the shim's end of the socket of package enter. Only the program and its child
// have the other end. A process of the container that traces the child could use it, too, but not
// under the PID of a process outside of the container.
type conversation struct{ *net.UnixConn }

func newConversation(fd int) (*conversation, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return &conversation{conn.(*net.UnixConn)}, nil
}

func (c *conversation) send(r *enter.Request) error {
	data := r.Encode()
	if len(data) > enter.MaxRequest || !clean(r) {
		return errors.New("request refused")
	}
	message := binary.LittleEndian.AppendUint32(nil, uint32(len(data)))
	if _, err := c.Write(append(message, data...)); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// maxMessage is the maximum length of an error text in bytes.
const maxMessage = 1 << 10

// awaitReady returns the PID of the child that waits for release.
func (c *conversation) awaitReady() (int, error) {
	data := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, oobn, _, _, err := c.ReadMsgUnix(data, oob)
	switch {
	case err != nil:
		return 0, fmt.Errorf("await process: %w", err)
	case n > 0 && data[0] == enter.Refused:
		return 0, errors.New(string(data[1:n]))
	case n != 1 || data[0] != enter.Ready:
		return 0, errors.New("program ended without a process")
	}
	pid, err := sender(oob[:oobn])
	if err != nil {
		return 0, err
	}
	// Its parent is the shim, and it cannot be reaped meanwhile.
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	return pid, nil
}

// sender returns the PID that the kernel has attached to a message.
func sender(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, fmt.Errorf("sender: %w", err)
	}
	for i := range messages {
		if credentials, err := unix.ParseUnixCredentials(&messages[i]); err == nil && credentials.Pid > 0 {
			return int(credentials.Pid), nil
		}
	}
	return 0, errors.New("message without a sender")
}

// release lets the child execute its program and returns when it has. A child that was killed
// before counts as one that was killed after.
func (c *conversation) release() error {
	if _, err := c.Write([]byte{enter.Go}); err != nil {
		return fmt.Errorf("release process: %w", err)
	}
	answer := make([]byte, 2)
	n, err := c.Read(answer)
	switch {
	case n == 0 && (err == nil || errors.Is(err, io.EOF)):
		return nil
	case err != nil:
		return fmt.Errorf("await execution: %w", err)
	case n == 2 && answer[0] == enter.Refused:
		return fmt.Errorf("execute program: %w", syscall.Errno(answer[1]))
	default:
		return errors.New("bad answer of the process")
	}
}
