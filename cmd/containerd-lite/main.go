// SPDX-License-Identifier: Apache-2.0

// Containerd-lite is containerd with the CRI of containerd-lite in place of its own. Everything but the CRI is
// containerd's: the command line, config.toml, the sockets, the other plugins. Build it with -tags no_cri, which leaves
// containerd's CRI out.
//
// On top of containerd's command this one checks config.toml before anything starts, names file and line of what is
// wrong in it, and survives SIGHUP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	// The plugins of containerd: content store, snapshotters, runtimes, servers.
	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/log"
	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	// The CRI, registered in place of containerd's.
	_ "github.com/containerd-lite/containerd-lite/plugin"
)

func main() {
	if err := app().Run(context.Background(), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "containerd-lite:", err)
		os.Exit(1)
	}
}

// app is containerd's command under our name, with a look at config.toml before the commands that read it.
func app() *cli.Command {
	app := command.App()
	app.Name = "containerd-lite"
	app.Usage = "containerd with a lighter CRI"
	app.Description = `Without a command, containerd-lite runs the daemon in the foreground. It takes containerd's place: the same
config.toml, sockets and tools. "containerd-lite config default" prints every key of config.toml.`
	setVersion(app)

	serve := app.Action
	app.Action = func(ctx context.Context, cmd *cli.Command) error {
		if cmd.Args().Present() {
			return fmt.Errorf("%q is not a command (see containerd-lite --help)", cmd.Args().First())
		}
		if path, ok := configPath(cmd); ok {
			if err := checkConfig(ctx, path); err != nil {
				return err
			}
		}
		defer ignoreHangup()()
		return serve(ctx, cmd)
	}
	for _, name := range []string{"dump", "migrate"} {
		sub := app.Command("config").Command(name)
		print := sub.Action
		sub.Action = func(ctx context.Context, cmd *cli.Command) error {
			if path, ok := configPath(cmd); ok {
				if _, err := readFiles(path); err != nil {
					return err
				}
			}
			return print(ctx, cmd)
		}
	}
	return app
}

// configPath returns the path of config.toml, or false where it is the default one and there is none.
func configPath(cmd *cli.Command) (string, bool) {
	path := cmd.String("config")
	_, err := os.Stat(path)
	return path, !errors.Is(err, os.ErrNotExist) || cmd.IsSet("config")
}

// ignoreHangup keeps SIGHUP from ending the daemon, as it would by default: tools such as nvidia-ctk send it to have
// the config read again. The signal is caught, not ignored, so that shims do not inherit that. It returns its end.
func ignoreHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	go func() {
		for range hangups {
			log.L.Warn("SIGHUP is ignored: config.toml is read at start only, restart containerd-lite to apply a change")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}
