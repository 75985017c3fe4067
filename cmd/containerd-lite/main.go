// SPDX-License-Identifier: Apache-2.0

// Containerd-lite is containerd with the CRI of containerd-lite in place of its own. Build it with
// -tags no_cri, which leaves containerd's CRI out.
package main

import (
	"context"
	"os"

	"github.com/containerd-lite/containerd-lite/cmd/containerd-lite/daemon"
)

func main() {
	os.Exit(daemon.Main(context.Background(), os.Args, os.Stderr))
}
