// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"os"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
)

// setLog sends the log of the shim to standard error, which is the FIFO that
// containerd reads.
func setLog(debug bool) {
	log.L.Logger.SetOutput(dropping{})
	_ = log.SetFormat(log.TextFormat)
	if debug {
		_ = log.SetLevel(log.DebugLevel.String())
	}
}

// dropping writes to standard error what fits. The shim must not wait for a
// containerd that does not read.
type dropping struct{}

// Write implements io.Writer. It reports success, as there is nobody to tell.
func (dropping) Write(p []byte) (int, error) {
	_, _ = unix.Write(unix.Stderr, p)
	return len(p), nil
}

// openLog opens the FIFO that containerd reads. As both a reader and a writer
// the shim keeps what it says while containerd is away, up to what the pipe
// holds, and is never told that nobody listens.
func openLog(dir bundle.Dir) (*os.File, error) {
	return os.OpenFile(dir.Log(), os.O_RDWR|unix.O_NONBLOCK, 0)
}

// home is the bundle that has the log FIFO and the crash file of the shim: that
// of the first task, and when that is deleted, of another.
type home struct {
	mu  sync.Mutex // held while moving
	dir bundle.Dir
}

// follow moves to one of the bundles of the tasks that there are, unless it is
// with one. To be called after each deletion.
func (h *home) follow(bundles func() []bundle.Dir) {
	h.mu.Lock()
	defer h.mu.Unlock()
	live := bundles()
	if len(live) == 0 || slices.Contains(live, h.dir) {
		return
	}
	h.dir = live[0]
	h.openCrash()
	if fifo, err := openLog(h.dir); err == nil {
		_ = unix.Dup3(int(fifo.Fd()), unix.Stderr, 0)
		_ = fifo.Close()
	}
}

// openCrash makes the Go runtime write its last words to the bundle.
func (h *home) openCrash() {
	file, err := os.OpenFile(h.dir.Crash(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_ = debug.SetCrashOutput(file, debug.CrashOptions{})
	_ = file.Close()
}
