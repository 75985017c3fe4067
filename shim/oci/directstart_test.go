// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// created returns a runtime with the state of a created container whose init has not opened the
// FIFO yet.
func created(t *testing.T) (r *Runtime, fifo string) {
	t.Helper()
	r = New(&options.Options{Root: t.TempDir()}, "ns", "", noHold)
	dir := filepath.Join(r.cli.Root, "web")
	fifo = filepath.Join(dir, execFifo)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	return r, fifo
}

// initOf opens the FIFO as an init does.
func initOf(t *testing.T, fifo string) *os.File {
	t.Helper()
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for a reader
	if err != nil {
		t.Error(err)
	}
	return f
}

func TestStartDirectly(t *testing.T) {
	r, fifo := created(t)
	go func() {
		f := initOf(t, fifo)
		_, _ = f.WriteString("0")
		_ = f.Close()
	}()
	if ok, err := r.StartDirectly(t.Context(), "web", make(chan struct{})); !ok || err != nil {
		t.Fatalf("start: %v, %v", ok, err)
	}
	if _, err := os.Lstat(fifo); !os.IsNotExist(err) {
		t.Errorf("the container is still in the state created: %v", err)
	}
	// A second start is left to the runtime's command, which refuses it.
	if ok, err := r.StartDirectly(t.Context(), "web", nil); ok || err != nil {
		t.Errorf("second start: %v, %v", ok, err)
	}
}

// TestStartDirectlyOfInitThatEnds checks that a container counts as started if its init wrote to
// the FIFO before it exited, and that StartDirectly returns an error if the init exited without.
func TestStartDirectlyOfInitThatEnds(t *testing.T) {
	for _, word := range []string{"0", ""} {
		r, fifo := created(t)
		ended := make(chan struct{})
		go func() {
			f := initOf(t, fifo)
			_, _ = f.WriteString(word)
			_ = f.Close()
			close(ended)
		}()
		ok, err := r.StartDirectly(t.Context(), "web", ended)
		if !ok || (err == nil) != (word != "") {
			t.Errorf("init that wrote %q: %v, %v", word, ok, err)
		}
	}
	r, fifo := created(t)
	dead := make(chan struct{})
	close(dead)
	if ok, err := r.StartDirectly(t.Context(), "web", dead); !ok || err == nil || !strings.Contains(err.Error(), "already dead") {
		t.Errorf("init that is dead: %v, %v", ok, err)
	}
	if _, err := os.Lstat(fifo); err != nil {
		t.Errorf("FIFO of a container that was not started: %v", err)
	}
}

func TestStartDirectlyIsInterrupted(t *testing.T) {
	r, _ := created(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := r.StartDirectly(ctx, "web", make(chan struct{})); !ok || !errdefs.IsCanceled(err) {
		t.Errorf("start = %v, %v, want canceled", ok, err)
	}
}

// TestStartDirectlyIsNotInterruptedAfterTheStart checks that a start succeeds if it is interrupted
// after the init has written its byte.
func TestStartDirectlyIsNotInterruptedAfterTheStart(t *testing.T) {
	r, fifo := created(t)
	init, err := os.OpenFile(fifo, os.O_RDWR, 0) // kept open, so that StartDirectly reads no EOF
	if err != nil {
		t.Fatal(err)
	}
	defer init.Close()
	if _, err := init.WriteString("0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := r.StartDirectly(ctx, "web", make(chan struct{})); !ok || err != nil {
		t.Errorf("start = %v, %v, want done", ok, err)
	}
	if _, err := os.Lstat(fifo); !os.IsNotExist(err) {
		t.Errorf("the container is still in the state created: %v", err)
	}
}

// TestStartDirectlyOnlyHandlesRunc checks that StartDirectly only handles containers that runc has
// created.
func TestStartDirectlyOnlyHandlesRunc(t *testing.T) {
	for name, change := range map[string]func(r *Runtime, dir string) error{
		"crun":         func(r *Runtime, _ string) error { r.cli.Command = "/usr/bin/crun"; return nil },
		"no state":     func(_ *Runtime, dir string) error { return os.Remove(filepath.Join(dir, stateFile)) },
		"started":      func(_ *Runtime, dir string) error { return os.Remove(filepath.Join(dir, execFifo)) },
		"no container": func(_ *Runtime, dir string) error { return os.RemoveAll(dir) },
	} {
		r, fifo := created(t)
		if err := change(r, filepath.Dir(fifo)); err != nil {
			t.Fatal(err)
		}
		if ok, err := r.StartDirectly(t.Context(), "web", nil); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}
