// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Name is os.Args[0] of the program.
const Name = "containerd-shim-lite-enter"

// File descriptors that the program inherits, beside the standard streams of the process.
const (
	// SocketFile is a socket of type SOCK_STREAM. The shim writes the size of the request as four
	// bytes, little-endian, and the request.
	SocketFile = 3
	// PidfdFile is a pidfd of the container's init.
	PidfdFile = 4
)

// Messages on the socket, each a byte. The child sends its messages itself, so that the shim gets
// its PID from the kernel (unix(7), SCM_CREDENTIALS). The socket is closed when the child executes
// the process's program.
const (
	// Ready is sent by the child and waits for Go. Without a Go the child exits.
	Ready = 'r'
	// Go is the answer of the shim.
	Go = 'g'
	// Refused is sent by the program and followed by an error text: there is no child. It is sent
	// by the child after Go if the kernel does not execute the process's program.
	Refused = 'e'
)

// init takes over if the executable was started under the name of this program.
func init() { //nolint:gochecknoinits // see the package comment
	if len(os.Args) > 0 && os.Args[0] == Name {
		unix.Exit(run()) // os.Exit would wait for a second in a build with the race detector
	}
}

func run() int {
	runtime.LockOSThread()
	if err := start(); err != nil {
		_, _ = unix.Write(SocketFile, append([]byte{Refused}, err.Error()...))
		return 1
	}
	return 0
}

// start starts the process. An error means that there is no process.
func start() error {
	// Processes of the container must not read the memory of this process, its open files or its
	// root directory, nor trace it, even after it has the user of the container.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("set non-dumpable: %w", err)
	}
	if err := unix.CloseRange(PidfdFile+1, ^uint(0)>>32, 0); err != nil {
		return fmt.Errorf("close files: %w", err)
	}
	unix.CloseOnExec(SocketFile)
	unix.CloseOnExec(PidfdFile)
	r, err := receive()
	if err != nil {
		return fmt.Errorf("receive request: %w", err)
	}
	if err := r.join(); err != nil {
		return err
	}
	p, err := r.become()
	if err != nil {
		return err
	}
	// The child must have no file of the host, even before it executes its program.
	if err := unix.CloseRange(SocketFile+1, ^uint(0)>>32, 0); err != nil {
		return fmt.Errorf("close files: %w", err)
	}
	return p.fork()
}

func receive() (*Request, error) {
	var size [4]byte
	if err := readFull(size[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > MaxRequest {
		return nil, errors.New("too long")
	}
	data := make([]byte, n)
	if err := readFull(data); err != nil {
		return nil, err
	}
	return Decode(data)
}

// readFull does not use package os, whose files may create threads and file descriptors.
func readFull(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Read(SocketFile, data)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return errors.New("unexpected end")
		default:
			data = data[n:]
		}
	}
	return nil
}
