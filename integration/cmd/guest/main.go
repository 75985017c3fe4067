// SPDX-License-Identifier: Apache-2.0

// Guest runs programs in a virtual machine with cgroup v2, systemd and AppArmor (package vm):
//
//	guest image                     builds the image of the guest if it is missing or out of date
//	guest run PROGRAM [ARGUMENT...] runs a program of the host in a guest and returns its exit code
//	guest shell                     starts a shell in a guest
//
// `go test -exec 'guest run'` runs the tests of any package in a guest, with their directory, the
// built programs and the tools in a copy of the checkout. The variables LITE_* of the host are set
// in the guest. `make vm` and `make vm-shell` call it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/vm"
)

func main() {
	limit := flag.Duration("limit", 2*time.Hour, "time limit of the guest")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: guest [-limit DURATION] image | run PROGRAM [ARGUMENT...] | shell")
	}
	flag.Parse()
	code, err := run(*limit, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		code = 1
	}
	os.Exit(code)
}

var errUsage = errors.New("unknown command (want image, run PROGRAM [ARGUMENT...] or shell)")

func run(limit time.Duration, args []string) (int, error) {
	repo, err := harness.FindRepo()
	if err != nil {
		return 0, err
	}
	image := vm.Image(repo.Tool("vm"))
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("the guest is still running after %s", limit))
	defer cancel()
	// go test sends SIGQUIT when its -timeout expires.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	switch {
	case len(args) == 1 && args[0] == "image":
		return 0, image.Build(ctx, os.Stderr)
	case len(args) == 1 && args[0] == "shell":
		fmt.Fprintln(os.Stderr, "the guest ends with the shell, or with Ctrl-A X")
		return 0, image.Shell(ctx, command(repo, string(repo), "bash", "-l"))
	case len(args) > 1 && args[0] == "run":
		dir, err := os.Getwd()
		if err != nil {
			return 0, err
		}
		return image.Run(ctx, command(repo, dir, args[1:]...), os.Stdout)
	}
	return 2, errUsage
}

// command returns a command with the suite parameters and the terminal type of the host.
func command(repo harness.Repo, dir string, args ...string) vm.Command {
	c := vm.Command{Checkout: string(repo), Dir: dir, Args: args}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "LITE_") || strings.HasPrefix(variable, "TERM=") {
			c.Env = append(c.Env, variable)
		}
	}
	return c
}
