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
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/internal/shimprocess"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/group"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/outbox"
	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/task"
)

const (
	ttrpcAddress = shimprocess.EventsEnv
	schedCore    = shimprocess.SchedCoreEnv

	// socketFile is the file descriptor of the listening socket.
	socketFile = 3

	// closeTimeout bounds the RPCs that are in progress when the shim exits, and flushTimeout the
	// delivery of events to containerd.
	closeTimeout = 3 * time.Second
	flushTimeout = 5 * time.Second
)

// foreignEnv are the variables that are for containerd, for the start command or for this process.
// The OCI runtime and binary loggers must not inherit them.
var foreignEnv = [...]string{
	ttrpcAddress, "GRPC_ADDRESS", "NAMESPACE", "MAX_SHIM_VERSION", schedCore,
	"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
	"GOMAXPROCS", // set by shimprocess
}

// serve runs the shim until its last task is deleted.
func (r *request) serve(ctx context.Context) error {
	address, stacks := os.Getenv(ttrpcAddress), stackSignals()
	if err := r.prepare(); err != nil {
		return err
	}
	logs := &logBundle{dir: bundle.Dir(r.bundle)}
	logs.openCrash() // fails if the bundle does not exist yet, see enterBundle
	slot := group.At(r.socket)
	own, err := os.Lstat(slot.Path())
	if err != nil {
		return fmt.Errorf("shim socket: %w", err)
	}
	listener, err := inheritListener()
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	created := make(chan struct{}, 1)
	host := &task.Host{
		Namespace: r.namespace,
		Children:  reap.New(),
		Events:    outbox.New(r.namespace, address),
		Creating:  enterBundle(logs, slot),
		Created:   created,
		Deleted:   logs.update,
	}
	running.Go(guard.Catch(ctx, "reap", func() { host.Children.Run(ctx) }, nil))
	running.Go(guard.Catch(ctx, "events", func() { host.Events.Run(ctx) }, nil))
	running.Go(guard.Catch(ctx, "memory limit", func() { boundMemory(ctx, created) }, nil))
	running.Go(guard.Catch(ctx, "log stacks", func() { logStacks(ctx, stacks) }, nil))

	end := make(chan struct{})
	service := task.NewService(host, shimoption.Pods(r.pods), func() { close(end) })
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
	shutDown(ctx, slot, own, server, host.Events)
	stop()
	running.Wait()
	return err
}

// enterBundle returns a function that does for the first task what its start command has done
// otherwise: it opens the log FIFO and records the socket for the delete command. The daemon starts
// a shim before there is a bundle (docs/decisions/0022).
func enterBundle(logs *logBundle, slot group.Slot) func(bundle.Dir) {
	var first sync.Once
	return func(dir bundle.Dir) {
		first.Do(func() {
			if _, err := dir.Socket(); err == nil {
				return
			}
			logs.enter(dir)
			if err := dir.WriteSocket(slot.Path()); err != nil {
				log.L.WithError(err).Warn("shim socket not recorded in the bundle; the delete command cannot remove it")
			}
		})
	}
}

// inheritListener returns the listening socket that start created. Children of the shim do not
// inherit it.
func inheritListener() (net.Listener, error) {
	f := os.NewFile(socketFile, "socket")
	defer f.Close()
	listener, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	return listener, nil
}

// prepare sets up this process as a shim.
func (r *request) prepare() error {
	setLog(r.debug)
	oci.WaitInPoller()
	// A broken pipe is reported as an error of its stream.
	signal.Ignore(unix.SIGPIPE)
	if err := reap.BecomeSubreaper(); err != nil {
		return err
	}
	for _, name := range foreignEnv {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	// The working directory must not be the first task's bundle, which is deleted earlier than the
	// shim exits.
	return os.Chdir("/")
}

// await returns when the last task is deleted, on SIGTERM or SIGINT, or when the server fails.
func await(end <-chan struct{}, failed <-chan error) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	select {
	case <-end:
		return nil
	case sig := <-signals:
		log.L.WithField("signal", sig).Info("received signal; shutting down")
		return nil
	case err := <-failed:
		return fmt.Errorf("task service: %w", err)
	}
}

// shutDown frees the socket path for a successor, completes the RPCs in progress and delivers the
// pending events.
func shutDown(ctx context.Context, slot group.Slot, own fs.FileInfo, server *ttrpc.Server, events *outbox.Outbox) {
	closing, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := slot.Retire(closing, own); err != nil {
		log.L.WithError(err).Warn("shim socket not removed; a later start replaces it")
	}
	if err := server.Shutdown(closing); err != nil && !errors.Is(err, net.ErrClosed) {
		_ = server.Close()
	}
	flushing, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := events.Flush(flushing); err != nil {
		log.L.WithField("events", events.Len()).Warn("containerd did not accept pending events; dropped them")
	}
}
