// SPDX-License-Identifier: Apache-2.0

// Containerd-lite is containerd with the CRI of containerd-lite instead of the built-in CRI. Build
// it with -tags no_cri, which leaves the built-in CRI out.
package main

import (
	"context"
	"os"

	"github.com/containerd-lite/containerd-lite/cmd/containerd-lite/daemon"
)

func main() {
	os.Exit(daemon.Main(context.Background(), os.Args, os.Stderr))
}
