// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/sharing"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/group"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/outbox"
	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/task"
)

const (
	ttrpcAddress = "TTRPC_ADDRESS"
	schedCore    = "SCHED_CORE"

	// socketFile is the number of the listening socket.
	socketFile = 3

	// The end of a shim is bounded: closing takes as long as the last answer,
	// and events are given up if containerd does not take them.
	closeTimeout = 3 * time.Second
	flushTimeout = 5 * time.Second
)

// foreign are the variables that concern containerd, the start command or this
// process, and neither the runtime nor a logging program.
var foreign = [...]string{
	ttrpcAddress, "GRPC_ADDRESS", "NAMESPACE", "MAX_SHIM_VERSION", schedCore,
	"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
	"GOMAXPROCS", // of this process, see oneProcessor
}

// serve is the shim: it runs until its last task is gone.
func (r *request) serve(ctx context.Context) error {
	address, stacks := os.Getenv(ttrpcAddress), stackSignals()
	if err := r.prepare(); err != nil {
		return err
	}
	home := &home{dir: bundle.Dir(r.bundle)}
	home.openCrash()
	slot := group.At(r.socket)
	own, err := os.Lstat(slot.Path())
	if err != nil {
		return fmt.Errorf("shim socket: %w", err)
	}
	listener, err := inherit()
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	host := &task.Host{Namespace: r.namespace, Children: reap.New(), Events: outbox.New(r.namespace, address), Deleted: home.follow}
	running.Go(guard.Catch(ctx, "reap", func() { host.Children.Run(ctx) }, nil))
	running.Go(guard.Catch(ctx, "events", func() { host.Events.Run(ctx) }, nil))
	running.Go(guard.Catch(ctx, "keep memory", func() { keepMemory(ctx) }, nil))
	running.Go(guard.Catch(ctx, "log stacks", func() { logStacks(ctx, stacks) }, nil))

	end := make(chan struct{})
	service := task.NewService(host, sharing.Pods(r.pods), func() { close(end) })
	if err := service.Expect(r.id); err != nil {
		return err
	}
	server, err := service.NewServer()
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	running.Go(guard.Catch(ctx, "serve", func() { failed <- server.Serve(ctx, listener) }, func(err error) { failed <- err }))

	err = await(end, failed)
	leave(ctx, slot, own, server, host.Events)
	stop()
	running.Wait()
	return err
}

// inherit returns the socket that start made. Nothing that the shim runs gets
// it.
func inherit() (net.Listener, error) {
	f := os.NewFile(socketFile, "socket")
	defer f.Close()
	listener, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	return listener, nil
}

// prepare makes this process a shim.
func (r *request) prepare() error {
	setLog(r.debug)
	oci.WaitInPoller()
	// A broken pipe is an error of the stream that it happens to.
	signal.Ignore(unix.SIGPIPE)
	if err := reap.BecomeSubreaper(); err != nil {
		return err
	}
	for _, name := range foreign {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	// The bundle of the first task can go before the shim does.
	return os.Chdir("/")
}

// await returns when the shim is no longer needed, told to end, or unable to
// go on.
func await(end <-chan struct{}, failed <-chan error) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	select {
	case <-end:
		return nil
	case sig := <-signals:
		log.L.WithField("signal", sig).Info("shim told to end")
		return nil
	case err := <-failed:
		return fmt.Errorf("task service: %w", err)
	}
}

// leave makes room for a successor, answers what is being answered and
// delivers what has been published.
func leave(ctx context.Context, slot group.Slot, own fs.FileInfo, server *ttrpc.Server, events *outbox.Outbox) {
	closing, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := slot.Retire(closing, own); err != nil {
		log.L.WithError(err).Warn("shim socket not removed")
	}
	if err := server.Shutdown(closing); err != nil && !errors.Is(err, net.ErrClosed) {
		_ = server.Close()
	}
	flushing, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := events.Flush(flushing); err != nil {
		log.L.WithField("events", events.Len()).Warn("containerd took no events, dropped")
	}
}
