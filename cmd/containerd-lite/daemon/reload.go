// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"os"
	"os/signal"

	"github.com/containerd/log"
	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// reloadOnHangup reloads config.toml at each SIGHUP, which would end the daemon by default;
// `systemctl reload` and tools such as nvidia-ctk send it. The signal is caught, not ignored,
// because shims would inherit an ignored signal. The returned function ends the reloads.
func reloadOnHangup(ctx context.Context, cmd *cli.Command) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	guard.Go(ctx, nil, "reload at hang-up", func() {
		for range hangups {
			_ = guard.Call(ctx, "reload config.toml", func() error { reload(ctx, cmd); return nil })
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}

// reload applies the only key that can change while plugins run, the log level, and logs whether
// the daemon would start with the rest.
func reload(ctx context.Context, cmd *cli.Command) {
	var level string
	if path, ok := configPath(cmd); ok {
		merged, err := checkConfig(ctx, path)
		if err != nil {
			log.G(ctx).WithError(err).Error("reload of config.toml rejected: nothing is changed, and the daemon would not start with this file")
			return
		}
		level = merged.Debug.Level
	}
	level = cmp.Or(cmd.String("log-level"), level, "info")
	if err := log.SetLevel(level); err != nil {
		log.G(ctx).WithError(err).Error("reload of config.toml rejected: debug.level is not a log level; nothing is changed")
		return
	}
	log.G(ctx).Infof("config.toml reloaded: the log level is %s; restart containerd-lite to apply other changes, pods keep running", level)
}
