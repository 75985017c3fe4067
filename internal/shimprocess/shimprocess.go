// SPDX-License-Identifier: Apache-2.0

package shimprocess

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

const (
	// MaxSocketPath bounds the path of a socket, so that sockaddr_un holds it with its terminating
	// null byte, see unix(7).
	MaxSocketPath = 106

	// EventsEnv is the variable with the address of containerd's events service.
	EventsEnv = "TTRPC_ADDRESS"

	// SchedCoreEnv is the variable by which containerd requests a core scheduling cookie for each
	// shim.
	SchedCoreEnv = "SCHED_CORE"

	// oneProcessor limits the shim to one processor, which is enough for it. The Go runtime
	// allocates memory for each processor at startup, and lowering the number later would take more
	// memory. The shim removes the variable from its environment: runc is faster with all
	// processors.
	oneProcessor = "GOMAXPROCS=1"
)

// Shim describes a shim that waits for its first task.
type Shim struct {
	Namespace string
	ID        string // of the first task
	Address   string // of containerd
	Events    string // address of containerd's events service; "" if the environment has it
	Bundle    string // of the first task; containerd may create it later
	Socket    string // path of the listening socket
	Pods      int    // how many pods may share the shim
	Debug     bool
}

// Listen creates a listening socket that only this user can connect to.
func Listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	err = os.Chmod(path, 0o600)
	var socket *os.File
	if err == nil {
		socket, err = l.File()
	}
	if err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	return socket, nil
}

// Command returns the command that runs the shim. The socket is listening, so that the shim can be
// called before it is ready.
func (s Shim) Command(program string, socket *os.File) *exec.Cmd {
	cmd := exec.Command(program, "-namespace", s.Namespace, "-id", s.ID, "-address", s.Address,
		"-bundle", s.Bundle, "-socket", s.Socket, "-pods", strconv.Itoa(s.Pods),
		"-debug="+strconv.FormatBool(s.Debug))
	cmd.Env = append(os.Environ(), oneProcessor)
	if s.Events != "" {
		cmd.Env = append(cmd.Env, EventsEnv+"="+s.Events)
	}
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}
