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

// setLog sends the log of the shim to standard error, which is the FIFO that containerd reads.
func setLog(debug bool) {
	log.L.Logger.SetOutput(droppingWriter{})
	_ = log.SetFormat(log.TextFormat)
	if debug {
		_ = log.SetLevel(log.DebugLevel.String())
	}
}

// droppingWriter writes to standard error and drops what does not fit. The shim must not block
// while containerd does not read.
type droppingWriter struct{}

// Write implements io.Writer. It always reports success: the logger could not handle an error.
func (droppingWriter) Write(p []byte) (int, error) {
	_, _ = unix.Write(unix.Stderr, p)
	return len(p), nil
}

// openLog opens the FIFO that containerd reads. It is opened for reading, too: while containerd is
// down, the pipe buffer keeps the log, and writes do not fail with EPIPE.
func openLog(dir bundle.Dir) (*os.File, error) {
	return os.OpenFile(dir.Log(), os.O_RDWR|unix.O_NONBLOCK, 0)
}

// logBundle is the bundle that has the log FIFO and the crash file of the shim: first that of the
// first task, and after its deletion that of another task.
type logBundle struct {
	mu  sync.Mutex // guards dir
	dir bundle.Dir
}

// update moves to the bundle of a live task if the current bundle is deleted. It is called after
// each deletion.
func (l *logBundle) update(bundles func() []bundle.Dir) {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := bundles()
	if len(live) == 0 || slices.Contains(live, l.dir) {
		return
	}
	l.enterLocked(live[0])
}

// enter moves to the bundle of the first task, which did not exist yet when the shim was started.
func (l *logBundle) enter(dir bundle.Dir) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enterLocked(dir)
}

func (l *logBundle) enterLocked(dir bundle.Dir) {
	l.dir = dir
	l.openCrash()
	if fifo, err := openLog(dir); err == nil {
		_ = unix.Dup3(int(fifo.Fd()), unix.Stderr, 0)
		_ = fifo.Close()
	}
}

// openCrash makes the Go runtime write the output of a fatal crash to the bundle.
func (l *logBundle) openCrash() {
	file, err := os.OpenFile(l.dir.Crash(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_ = debug.SetCrashOutput(file, debug.CrashOptions{})
	_ = file.Close()
}
