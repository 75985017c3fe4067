// SPDX-License-Identifier: Apache-2.0

// Command containerd-shim-lite-v2 is the shim of the runtime type io.containerd.lite.v2. Under the
// name pod-init it is the init process of a pod that shares its PID namespace.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containerd-lite/containerd-lite/shim"
	"github.com/containerd-lite/containerd-lite/shim/podinit"
)

func main() {
	if filepath.Base(os.Args[0]) == podinit.Name {
		os.Exit(podinit.Run())
	}
	os.Exit(shim.Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
