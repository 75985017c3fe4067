// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/console"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// invocation is a command line of runc.
type invocation struct {
	root, log        string
	command, id      string
	bundle, process  string
	pidFile, console string
	force            bool
}

func parse(args []string) *invocation {
	v := &invocation{}
	values := map[string]*string{
		"--root": &v.root, "--log": &v.log, "--bundle": &v.bundle, "--process": &v.process,
		"--pid-file": &v.pidFile, "--console-socket": &v.console,
	}
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case values[arg] != nil:
			i++
			*values[arg] = args[i]
		case arg == "--force":
			v.force = true
		case arg == "--log-format", arg == "--image-path", arg == "--work-path", arg == "--parent-path":
			i++
		case arg[0] == '-':
		case v.command == "":
			v.command = arg
		case v.id == "":
			v.id = arg
		}
	}
	return v
}

func beRuntime(args []string) int {
	v := parse(args)
	if v.command == "features" {
		fmt.Println(`{"ociVersionMin":"1.0.0","ociVersionMax":"1.3.0"}`)
		return 0
	}
	err := v.applyTest()
	if err == nil {
		err = v.run()
	}
	if err == nil {
		return 0
	}
	entry, _ := json.Marshal(map[string]string{"level": "error", "msg": err.Error()})
	if f, err := os.OpenFile(v.log, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = f.Write(append(entry, '\n'))
	}
	return 1
}

// applyTest records the command, and waits or fails if the test has requested it.
func (v *invocation) applyTest() error {
	dir := filepath.Dir(v.root)
	trace, err := os.OpenFile(filepath.Join(dir, traceFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintf(trace, "%s %s\n", v.command, v.id)
	_ = trace.Close()
	if gate, err := os.Open(filepath.Join(dir, "gate-"+v.command)); err == nil {
		_, _ = io.Copy(io.Discard, gate)
	}
	if message, err := os.ReadFile(filepath.Join(dir, "fail-"+v.command)); err == nil {
		return errors.New(string(message))
	}
	return nil
}

func (v *invocation) run() error {
	switch v.command {
	case "create":
		return v.create(v.fifo())
	case "restore":
		return v.create("")
	case "start":
		return v.start()
	case "exec":
		return v.exec()
	case "delete":
		return v.delete()
	default:
		_, err := v.pid()
		return err
	}
}

func (v *invocation) dir() string  { return filepath.Join(v.root, v.id) }
func (v *invocation) fifo() string { return filepath.Join(v.dir(), "exec.fifo") }

// pid returns the PID of the init of an existing container.
func (v *invocation) pid() (int, error) {
	data, err := os.ReadFile(filepath.Join(v.dir(), "pid"))
	if err != nil {
		return 0, errors.New("container does not exist")
	}
	return strconv.Atoi(string(data))
}

func (v *invocation) create(fifo string) error {
	data, err := os.ReadFile(filepath.Join(v.bundle, "config.json"))
	if err != nil {
		return err
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(data, spec); err != nil {
		return err
	}
	if err := os.MkdirAll(v.root, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(v.dir(), 0o700); err != nil {
		return err
	}
	if fifo != "" {
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			return err
		}
	}
	pid, err := v.spawn(fifo, spec.Process)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(v.dir(), "pid"), []byte(strconv.Itoa(pid)), 0o600)
}

func (v *invocation) exec() error {
	if _, err := v.pid(); err != nil {
		return err
	}
	data, err := os.ReadFile(v.process)
	if err != nil {
		return err
	}
	process := &specs.Process{}
	if err := json.Unmarshal(data, process); err != nil {
		return err
	}
	_, err = v.spawn("", process)
	return err
}

// spawn starts a process that outlives this one and so becomes a child of the shim, which is a
// subreaper.
func (v *invocation) spawn(fifo string, process *specs.Process) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	path, err := exec.LookPath(process.Args[0])
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, append([]string{initRole, fifo, path}, process.Args...)...)
	cmd.Env = process.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if v.console != "" {
		peer, err := v.sendConsole()
		if err != nil {
			return 0, err
		}
		defer peer.Close()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = peer, peer, peer
		cmd.SysProcAttr.Setctty = true
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, os.WriteFile(v.pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

func (v *invocation) sendConsole() (peer *os.File, err error) {
	master, path, err := console.NewPty()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("unix", v.console)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("ptmx"), unix.UnixRights(int(master.Fd())), nil)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
}

func (v *invocation) start() error {
	pid, err := v.pid()
	if err != nil {
		return err
	}
	for {
		// Succeeds when the init has opened the FIFO for reading.
		f, err := os.OpenFile(v.fifo(), os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			return f.Close()
		}
		if unix.Kill(pid, 0) == unix.ESRCH {
			return errors.New("cannot start a container that has stopped")
		}
		time.Sleep(time.Millisecond)
	}
}

func (v *invocation) delete() error {
	pid, err := v.pid()
	if err != nil {
		return err
	}
	if unix.Kill(pid, 0) == nil {
		if !v.force {
			return errors.New("cannot delete a container that is running")
		}
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return os.RemoveAll(v.dir())
}

// beInit waits at the FIFO, if one is given, and executes the process.
func beInit(args []string) error {
	fifo, path, argv := args[0], args[1], args[2:]
	if fifo != "" {
		f, err := os.Open(fifo)
		if err != nil {
			return err
		}
		_ = f.Close()
	}
	return syscall.Exec(path, argv, os.Environ())
}
