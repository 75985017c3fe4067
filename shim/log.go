// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
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
