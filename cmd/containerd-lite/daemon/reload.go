// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	containerdplugin "github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// reloadable is the method of the CRI service that the reloader calls.
type reloadable interface {
	Reload(ctx context.Context, next config.Config) (pending []string, err error)
}

// reloader applies changes of config.toml while the daemon runs: at each SIGHUP, which tools such
// as nvidia-ctk send, and at each call of `containerd-lite config reload`. It is used from one
// goroutine.
type reloader struct {
	cmd   *cli.Command
	began *checked   // the config that the daemon has started with
	cri   reloadable // nil if the CRI is disabled
}

// serveReloads registers two plugins of containerd: the gRPC service of `config reload`, and a
// reloader that starts when the CRI is built. From now on SIGHUP, which ends a process by default,
// is caught. It is not ignored, because shims would inherit an ignored signal. The returned
// function ends all reloads.
func serveReloads(cmd *cli.Command, began *checked) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	calls := make(reloadCalls)
	registry.Register(&containerdplugin.Registration{
		Type:   plugins.GRPCPlugin,
		ID:     "reload",
		InitFn: func(*containerdplugin.InitContext) (any, error) { return calls, nil },
	})
	registry.Register(&containerdplugin.Registration{
		Type:     "io.containerd.lite.v1",
		ID:       "reload",
		Requires: []containerdplugin.Type{plugins.GRPCPlugin},
		InitFn: func(ic *containerdplugin.InitContext) (any, error) {
			r := &reloader{cmd: cmd, began: began}
			if instance, err := ic.GetByID(plugins.GRPCPlugin, "cri"); err == nil {
				r.cri, _ = instance.(reloadable)
			}
			guard.Go(ic.Context, nil, "reload config.toml", func() { r.follow(ic.Context, hangups, calls) })
			return r, nil
		},
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}

// follow reloads at each signal and each call, until hangups is closed. The results of reloads by
// signals are only in the log.
func (r *reloader) follow(ctx context.Context, hangups <-chan os.Signal, calls reloadCalls) {
	reload := func() (reloaded, error) {
		return guard.Value(ctx, "reload config.toml", func() (reloaded, error) { return r.reload(ctx) })
	}
	for {
		select {
		case _, more := <-hangups:
			if !more {
				return
			}
			_, _ = reload()
		case answer := <-calls:
			var a reloadAnswer
			a.reloaded, a.err = reload()
			answer <- a
		}
	}
}

// reloadCalls are the calls of the gRPC service, each with the channel for its answer.
type reloadCalls chan chan<- reloadAnswer

type reloadAnswer struct {
	reloaded
	err error
}

// reloaded is the result of a reload.
type reloaded struct {
	Level    string   `json:"level"`    // of the log
	Pending  []string `json:"pending"`  // keys whose change needs a restart
	Warnings []string `json:"warnings"` // keys without effect
}

// String returns the result in one line.
func (r reloaded) String() string {
	text := "config.toml reloaded; the log level is " + r.Level
	if len(r.Pending) > 0 {
		text += "; restart containerd-lite to apply the changes of " + strings.Join(r.Pending, ", ") + " (pods keep running)"
	}
	return text
}

// reload reads config.toml and the files that it imports, and applies them, or returns the reason
// why nothing has changed.
func (r *reloader) reload(ctx context.Context) (reloaded, error) {
	result, err := r.apply(ctx)
	metrics.Reload(err)
	if err != nil {
		log.G(ctx).WithError(err).Error("reload of config.toml rejected; the former config stays in effect; correct the file and reload again")
		return result, err
	}
	for _, warning := range result.Warnings {
		log.G(ctx).Warn(warning)
	}
	log.G(ctx).Info(result)
	return result, nil
}

func (r *reloader) apply(ctx context.Context) (result reloaded, err error) {
	next := noFile()
	if path, ok := configPath(r.cmd); ok {
		if next, err = checkConfig(ctx, path); err != nil {
			return result, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	result.Level = cmp.Or(r.cmd.String("log-level"), next.Debug.Level, "info")
	former := log.GetLevel().String()
	if err := log.SetLevel(result.Level); err != nil {
		return result, fmt.Errorf("debug.level: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	result.Pending = changedTables(r.began, next)
	if r.cri == nil || slices.Contains(next.DisabledPlugins, config.ServerTable) {
		return result, nil
	}
	next.cri.runtime.Complete()
	result.Warnings = slices.Concat(next.cri.images.Pending(), next.cri.runtime.Pending())
	pending, err := r.cri.Reload(ctx, config.Config{Images: next.cri.images, Runtime: next.cri.runtime, Server: next.cri.server})
	if err != nil {
		_ = log.SetLevel(former) // it was valid before
		return result, err
	}
	result.Pending = append(result.Pending, pending...)
	return result, nil
}

// The gRPC service that reloads config.toml. It is served only on containerd's socket, which
// only root can open.
const (
	reloadService = "containerdlite.v1.Reload"
	reloadMethod  = "Reload"
)

var reloadDesc = grpc.ServiceDesc{
	ServiceName: reloadService,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: reloadMethod, Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		return srv.(reloadCalls).serve(ctx, decode) //nolint:forcetypeassert // it was registered with one
	}}},
}

// Register registers the service on containerd's socket.
func (c reloadCalls) Register(g *grpc.Server) error {
	g.RegisterService(&reloadDesc, c)
	return nil
}

// serve waits for the reload. If its caller goes away, the reload goes on.
func (c reloadCalls) serve(ctx context.Context, decode func(any) error) (any, error) {
	if err := decode(new(emptypb.Empty)); err != nil {
		return nil, err
	}
	answer := make(chan reloadAnswer, 1)
	select {
	case c <- answer:
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	}
	select {
	case a := <-answer:
		data, err := json.Marshal(a.reloaded)
		if err = cmp.Or(a.err, err); err != nil {
			return nil, errgrpc.ToGRPC(err)
		}
		return wrapperspb.Bytes(data), nil
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	}
}

// reloadCommand returns the command that makes the running daemon reload its config.toml.
func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "Make the running daemon apply its config files, all or nothing, and name the changes that need a restart",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			result, err := askReload(ctx, cmd)
			if err != nil {
				return err
			}
			for _, warning := range result.Warnings {
				fmt.Fprintln(cmd.Root().Writer, "warning:", warning)
			}
			fmt.Fprintln(cmd.Root().Writer, result)
			return nil
		},
	}
}

func askReload(ctx context.Context, cmd *cli.Command) (result reloaded, err error) {
	conn, err := connect(ctx, cmd)
	if err != nil {
		return result, err
	}
	defer conn.close()
	var answer wrapperspb.BytesValue
	if err := conn.Invoke(ctx, "/"+reloadService+"/"+reloadMethod, new(emptypb.Empty), &answer); err != nil {
		if err = errgrpc.ToNative(err); !errdefs.IsInvalidArgument(err) {
			err = errors.Join(conn.broken, err)
		}
		return result, fmt.Errorf("nothing is changed: %w", err)
	}
	return result, json.Unmarshal(answer.GetValue(), &result)
}
