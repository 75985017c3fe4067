// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	// The plugins of containerd: content store, snapshotters, runtimes, servers.
	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/log"
	"github.com/urfave/cli/v3"

	// The CRI, registered in place of containerd's.
	_ "github.com/containerd-lite/containerd-lite/plugin"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, stderr io.Writer) int {
	if err := Command().Run(ctx, args); err != nil {
		fmt.Fprintln(stderr, "containerd-lite:", err)
		return 1
	}
	return 0
}

// Command is containerd's command under our name, with a look at config.toml before the commands
// that read it.
func Command() *cli.Command {
	app := command.App()
	app.Name = "containerd-lite"
	app.Usage = "containerd with a lighter CRI"
	app.Description = `Without a command, containerd-lite runs the daemon in the foreground. It takes containerd's place: the same
config.toml, sockets and tools. "containerd-lite config default" prints every key of config.toml.`
	app.EnableShellCompletion = true
	setVersion(app)
	app.Action = serve(app.Action)
	for i, sub := range app.Commands {
		if sub.Name == "config" {
			app.Commands[i] = configCommand(sub)
		}
	}
	return app
}

// serve returns containerd's action, which runs the daemon, with what we do before it and beside
// it.
func serve(run cli.ActionFunc) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		if cmd.Args().Present() {
			return fmt.Errorf("%q is not a command (see containerd-lite --help)", cmd.Args().First())
		}
		merged := noFile()
		if path, ok := configPath(cmd); ok {
			var err error
			if merged, err = checkQuietly(ctx, path); err != nil {
				return err
			}
			if slices.Contains(merged.DisabledPlugins, config.ServerTable) {
				log.G(ctx).Warnf("the CRI is off, so Kubernetes cannot use this node: disabled_plugins of %s names %s", path, config.ServerTable)
			}
		}
		for _, line := range warnings(merged.Config) {
			log.G(ctx).Warn(line)
		}
		defer reloadAtHangup(ctx, cmd)()
		defer feedWatchdog(ctx, address(cmd, merged.Config))()
		return run(ctx, cmd)
	}
}

// configCommand is containerd's command config, whose commands that read the file say where they
// cannot, and check.
func configCommand(theirs *cli.Command) *cli.Command {
	ours := &cli.Command{Name: theirs.Name, Usage: theirs.Usage}
	for _, sub := range theirs.Commands {
		print := sub.Action
		ours.Commands = append(ours.Commands, &cli.Command{
			Name:  sub.Name,
			Usage: sub.Usage,
			Action: func(ctx context.Context, cmd *cli.Command) error {
				if path, ok := configPath(cmd); ok && cmd.Name != "default" {
					if _, err := readFiles(path); err != nil {
						return err
					}
				}
				return print(ctx, cmd)
			},
		})
	}
	ours.Commands = append(ours.Commands, &cli.Command{
		Name:  "check",
		Usage: "Say what is wrong in the config files, and fail if anything is; else what has no effect and which shims run pods",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			found := noFile() // They are right.
			if path, ok := configPath(cmd); ok {
				var err error
				if found, err = checkConfig(ctx, path); err != nil {
					return err
				}
			}
			found.print(cmd.Root().Writer)
			return nil
		},
	})
	return ours
}

// configPath returns the path of config.toml, or false where it is the default one and there is
// none.
func configPath(cmd *cli.Command) (string, bool) {
	path := cmd.String("config")
	_, err := os.Stat(path)
	return path, !errors.Is(err, os.ErrNotExist) || cmd.IsSet("config")
}

// address returns the path of containerd's gRPC socket.
func address(cmd *cli.Command, merged *srvconfig.Config) string {
	if flag := cmd.String("address"); flag != "" {
		return flag
	}
	server, _ := merged.Plugins["io.containerd.server.v1.grpc"].(map[string]any)
	if key, _ := server["address"].(string); key != "" {
		return key
	}
	return defaults.DefaultAddress
}
