// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	// containerd's plugins: content store, snapshotters, runtimes, servers.
	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/log"
	"github.com/urfave/cli/v3"

	// The CRI, registered instead of containerd's.
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

// Command returns containerd's command under the name containerd-lite. The commands that read
// config.toml check it first.
func Command() *cli.Command {
	app := command.App()
	app.Name = "containerd-lite"
	app.Usage = "containerd with a lighter CRI"
	app.Description = `Without a command, containerd-lite runs the daemon in the foreground. It takes containerd's place: the same
config.toml, sockets and tools. "containerd-lite config default" prints every key of config.toml.`
	app.EnableShellCompletion = true
	setVersion(app)
	app.Action = serve(app.Action)
	app.Commands = append(app.Commands, checkCommand(), statusCommand(), pullCommand(), debugCommand(), adoptCommand(), handBackCommand())
	for i, sub := range app.Commands {
		if sub.Name == "config" {
			app.Commands[i] = configCommand(sub)
		}
	}
	return app
}

// serve wraps containerd's action, which runs the daemon: it checks the config first, and runs the
// reload and the watchdog beside the daemon.
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
				log.G(ctx).Warnf("the CRI is disabled; Kubernetes cannot use this node until disabled_plugins of %s no longer has %s", path, config.ServerTable)
			}
		}
		defer serveReloads(cmd, merged)()
		defer feedWatchdog(ctx, address(cmd, merged.Config))()
		defer releaseWhenIdle(ctx)()
		return run(ctx, cmd)
	}
}

// configCommand returns containerd's command config. Its commands that read the file report where
// the file is wrong, and it has the command check, too.
func configCommand(stock *cli.Command) *cli.Command {
	wrapped := &cli.Command{Name: stock.Name, Usage: stock.Usage}
	for _, sub := range stock.Commands {
		run := sub.Action
		wrapped.Commands = append(wrapped.Commands, &cli.Command{
			Name:  sub.Name,
			Usage: sub.Usage,
			Action: func(ctx context.Context, cmd *cli.Command) error {
				if path, ok := configPath(cmd); ok && cmd.Name != "default" {
					if _, err := readFiles(path); err != nil {
						return err
					}
				}
				return run(ctx, cmd)
			},
		})
	}
	wrapped.Commands = append(wrapped.Commands, reloadCommand(), &cli.Command{
		Name:  "check",
		Usage: "Report errors in the config files, and fail if there are any; otherwise list keys without effect and the shims that run pods",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			found := noFile()
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
	return wrapped
}

// configPath returns the path of config.toml, or false if it is the default path and no file is
// there.
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
