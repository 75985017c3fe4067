// SPDX-License-Identifier: Apache-2.0

// Up starts a temporary daemon with a registry of test images and a CNI network, prints how to use
// it, and removes everything on ^C. `make dev` runs it; LITE_DAEMON and LITE_HANDLER choose the
// daemon and the shim.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	bench, err := harness.New(ctx, harness.FromEnv())
	if err != nil {
		return err
	}
	fmt.Printf(`%[1]s is up, pid %[2]d, handler %[3]s; its log is %[4]s/daemon.log

  %[5]s images
  %[5]s pull %[6]s
  %[7]s containers ls

^C removes everything.
`, bench.Options.Daemon, bench.Daemon.PID(), bench.Handler, bench.Root,
		shell(bench.Crictl(ctx).Args), image.Busybox, shell(bench.Ctr(ctx, "-n", harness.Namespace).Args))
	<-ctx.Done()
	return bench.Close(context.Background())
}

func shell(args []string) string {
	line := ""
	for _, arg := range args {
		line += arg + " "
	}
	return line[:len(line)-1]
}
