// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/dialer"
	"github.com/containerd/log"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// feedWatchdog notifies systemd's watchdog, if the unit has WatchdogSec, each time that the CRI has
// answered a call at the daemon's socket, as the kubelet would make it. The returned function ends
// the notifications.
func feedWatchdog(ctx context.Context, address string) (stop func()) {
	// The variables are unset, since child processes of the daemon are not watched.
	period, err := sd.SdWatchdogEnabled(true)
	if err != nil {
		log.G(ctx).WithError(err).Warn("systemd watchdog is not used")
	}
	if period == 0 {
		return func() {}
	}
	w := watchdog{address: address, period: period}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	guard.Go(ctx, &running, "watchdog", func() {
		_ = guard.Keep(ctx, "feed the watchdog", func() error { w.run(ctx); return nil })
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// watchdog is used from one goroutine.
type watchdog struct {
	address string        // of the daemon's socket
	period  time.Duration // WatchdogSec of the unit
	healthy bool          // the CRI has answered once
}

// run queries the CRI three times in a period, so that one answer may be missing or late.
func (w *watchdog) run(ctx context.Context) {
	ticker := time.NewTicker(w.callTimeout())
	defer ticker.Stop()
	for {
		w.check(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// callTimeout returns how long the CRI may take to answer.
func (w *watchdog) callTimeout() time.Duration { return w.period / 3 }

func (w *watchdog) check(ctx context.Context) {
	callCtx, cancel := context.WithTimeout(ctx, w.callTimeout())
	defer cancel()
	err := w.queryCRI(callCtx)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		w.healthy = true
		_, err = sd.SdNotify(false, sd.SdNotifyWatchdog)
	case !w.healthy:
		return // the daemon is starting; TimeoutStartSec applies
	}
	if err != nil {
		log.G(ctx).WithError(err).Warnf("systemd watchdog not notified; systemd restarts the daemon if this lasts %s", w.period)
	}
}

// queryCRI returns an error if the CRI does not answer. It uses a new connection, so that it also
// detects a socket on which no connection is accepted.
func (w *watchdog) queryCRI(ctx context.Context) error {
	conn, err := grpc.NewClient(dialer.DialAddress(w.address), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialer.ContextDialer))
	if err != nil {
		return fmt.Errorf("query CRI status: %s: %w", w.address, err)
	}
	defer conn.Close()
	_, err = runtimeapi.NewRuntimeServiceClient(conn).Status(ctx, &runtimeapi.StatusRequest{})
	// Unimplemented is the answer if the config disables the CRI, which is not a failure.
	if err != nil && status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("query CRI status: %w", err)
	}
	return nil
}
