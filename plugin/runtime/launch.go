// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/process"
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/internal/shimprocess"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// Launcher starts the shims of pods as their start command does, and saves the process of that
// command (docs/decisions/0022). The zero value launches none.
type Launcher struct {
	Sockets string   // directory of the shims' sockets
	Bundles string   // containerd's directory of bundles
	Address string   // of containerd's API
	Events  string   // of containerd's events service
	Env     []string // variables that containerd sets for shims
}

// CanLaunch reports whether shims of a handler can be launched. The others need their start
// command, and so do those with a core scheduling cookie and those whose socket has a longer path
// than the kernel allows.
func (l Launcher) CanLaunch(h config.Handler) bool {
	fits := len(l.Sockets)+len("/")+socketName <= shimprocess.MaxSocketPath
	return l.Sockets != "" && l.Events != "" && fits && !l.schedCore() && h.PlainShim()
}

func (l Launcher) schedCore() bool {
	return slices.ContainsFunc(append(os.Environ(), l.Env...), func(v string) bool {
		value, ok := strings.CutPrefix(v, shimprocess.SchedCoreEnv+"=")
		return ok && value != ""
	})
}

// LaunchedShim is a shim that waits for the first task of its pod. It exits if that is not created
// within a minute.
type LaunchedShim struct {
	socket  string
	process *os.Process
}

// Launch starts a shim for the task with this ID. It does not wait until the shim is ready: its
// socket is listening already.
func (l Launcher) Launch(ctx context.Context, id string) (*LaunchedShim, error) {
	defer inShim(ctx, "launch", id)()
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	program, err := FindProgram(shim.BinaryName(config.LiteRuntimeType))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.Sockets, 0o700); err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	s := shimprocess.Shim{
		Namespace: namespace, ID: id, Address: l.Address, Events: l.Events,
		Bundle: filepath.Join(l.Bundles, id), Socket: l.newSocket(id), Pods: int(shimoption.Pod),
		Debug: log.GetLevel() >= log.DebugLevel,
	}
	socket, err := shimprocess.Listen(s.Socket)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	cmd := s.Command(program, socket)
	cmd.Env = append(cmd.Env, l.Env...)
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr // until the bundle has a log FIFO
	launched := &LaunchedShim{socket: s.Socket}
	if err := start(ctx, cmd, id); err != nil {
		return nil, errors.Join(fmt.Errorf("start shim: %w", err), remove(s.Socket))
	}
	launched.process = cmd.Process
	if err := process.SacrificeBefore(cmd.Process.Pid, os.Getpid()); err != nil {
		launched.Abandon()
		return nil, fmt.Errorf("start shim: %w", err)
	}
	return launched, nil
}

// start starts a shim, and reaps it when it has ended.
func start(ctx context.Context, cmd *exec.Cmd, id string) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	guard.Go(context.WithoutCancel(ctx), nil, "wait for the shim of "+id, func() {
		// Without a pidfd AwaitEnd returns at once and Wait blocks a thread, with the same result.
		_ = process.AwaitEnd(cmd.Process.Pid)
		_ = cmd.Wait()
	})
	return nil
}

// Endpoint returns the address of the shim, as tasks are created with.
func (s *LaunchedShim) Endpoint() string { return "ttrpc+unix://" + s.socket }

// Abandon kills the shim and removes its socket. It must not be called when a task was created.
func (s *LaunchedShim) Abandon() {
	_ = s.process.Kill() // an error means that it has ended
	_ = remove(s.socket)
}

// RemoveSockets removes the sockets of the shims of a task that does not exist any more. A shim
// removes its socket when it exits, and the delete command removes that of a lost shim. Only a shim
// that is killed before containerd has created its task leaves a socket.
func (l Launcher) RemoveSockets(id string) error {
	entries, err := os.ReadDir(l.Sockets)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("shim sockets: %w", err)
	}
	var problems []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), socketPrefix(id)) {
			problems = append(problems, remove(filepath.Join(l.Sockets, entry.Name())))
		}
	}
	return errors.Join(problems...)
}

// A socket is named after its task, so that RemoveSockets finds it, and has a random part: the
// delete command for a lost shim must not meet its successor.
const (
	socketIDDigits = 24
	socketRandom   = 4 // bytes
	socketSuffix   = ".0"
	socketName     = socketIDDigits + len("-") + 2*socketRandom + len(socketSuffix)
)

func socketPrefix(id string) string { return id[:min(len(id), socketIDDigits)] + "-" }

func (l Launcher) newSocket(id string) string {
	unique := make([]byte, socketRandom)
	_, _ = rand.Read(unique) // never fails
	return filepath.Join(l.Sockets, socketPrefix(id)+hex.EncodeToString(unique)+socketSuffix)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("shim socket: %w", err)
	}
	return nil
}
