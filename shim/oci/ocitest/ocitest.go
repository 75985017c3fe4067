// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	initRole  = "ocitest-init"
	traceFile = "trace"
)

// Main runs a command of the runtime or an init and exits, if this process was started as one;
// otherwise it returns.
func Main() {
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case initRole:
		fmt.Fprintln(os.Stderr, beInit(os.Args[2:]))
		os.Exit(1)
	case "--root", "--log-format", "features":
		os.Exit(beRuntime(os.Args[1:]))
	}
}

// Root is a directory for the state of the runtime.
type Root struct {
	t   testing.TB
	dir string
}

// New returns an empty Root.
func New(t testing.TB) *Root {
	// With -race every command would sleep for a second before it exits.
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return &Root{t: t, dir: t.TempDir()}
}

// Options returns options that select this binary as the runtime.
func (r *Root) Options() *options.Options {
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	return &options.Options{BinaryName: self, Root: r.dir}
}

// Bundle returns a bundle directory whose init runs args. With privatePids its config.json has a
// PID namespace.
func (r *Root) Bundle(privatePids bool, args ...string) string {
	spec := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{Args: args, Env: os.Environ(), Cwd: "/"},
		Linux:   &specs.Linux{},
	}
	if privatePids {
		spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}}
	}
	dir := r.t.TempDir()
	data, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return dir
}

// Fail makes a command fail with a message until the returned function is called.
func (r *Root) Fail(command, message string) (restore func()) {
	path := filepath.Join(r.dir, "fail-"+command)
	if err := os.WriteFile(path, []byte(message), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

// Gate makes a command wait. entered returns when the command waits; open lets it and all later
// ones continue.
func (r *Root) Gate(command string) (entered, open func()) {
	path := filepath.Join(r.dir, "gate-"+command)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		r.t.Fatal(err)
	}
	var held *os.File
	entered = func() {
		var err error
		if held, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			r.t.Error(err)
		}
	}
	open = func() {
		_ = os.Remove(path)
		if held != nil {
			_ = held.Close()
		}
	}
	return entered, open
}

// Trace returns the commands that were run, each as "command id".
func (r *Root) Trace() []string {
	data, err := os.ReadFile(filepath.Join(r.dir, traceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// Knows reports whether the runtime has state of a container.
func (r *Root) Knows(namespace, id string) bool {
	_, err := os.Stat(filepath.Join(r.dir, namespace, id))
	return err == nil
}
