// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"os"
	"os/signal"
	"runtime"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// maxStacks bounds the logged stacks in bytes: the log is a pipe that holds 64 KiB.
const maxStacks = 48 << 10

// stackSignals registers for SIGUSR1, on which containerd and its shims log their stacks. It is
// called before anything else: an unhandled SIGUSR1 would end the process.
func stackSignals() chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	return signals
}

// logStacks logs the stacks of all goroutines at each signal, until ctx ends.
func logStacks(ctx context.Context, signals chan os.Signal) {
	defer signal.Stop(signals)
	for {
		select {
		case <-signals:
			buf := make([]byte, maxStacks)
			log.L.Infof("=== BEGIN goroutine stack dump ===\n%s\n=== END goroutine stack dump ===", buf[:runtime.Stack(buf, true)])
		case <-ctx.Done():
			return
		}
	}
}
