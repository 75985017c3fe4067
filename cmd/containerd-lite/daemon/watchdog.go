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

// feedWatchdog tells systemd that the daemon is alive, where the unit has WatchdogSec: whenever the
// CRI has answered at the daemon's socket, as a kubelet would ask it, and never else. It returns
// its end.
func feedWatchdog(ctx context.Context, address string) (stop func()) {
	// Unset, since what the daemon starts is not watched.
	period, err := sd.SdWatchdogEnabled(true)
	if err != nil {
		log.G(ctx).WithError(err).Warn("the watchdog of systemd is not fed")
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
	period  time.Duration // in which systemd wants to hear of us
	healthy bool          // whether the CRI has ever answered
}

// run asks the CRI three times in a period, so that after an answer one may be missing or late.
func (w *watchdog) run(ctx context.Context) {
	beat := time.NewTicker(w.try())
	defer beat.Stop()
	for {
		w.beat(ctx)
		select {
		case <-beat.C:
		case <-ctx.Done():
			return
		}
	}
}

// try is how long the CRI may take to answer.
func (w *watchdog) try() time.Duration { return w.period / 3 }

func (w *watchdog) beat(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, w.try())
	defer cancel()
	err := w.ask(asking)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		w.healthy = true
		_, err = sd.SdNotify(false, sd.SdNotifyWatchdog)
	case !w.healthy:
		return // The daemon is starting, for which the unit has a time limit of its own.
	}
	if err != nil {
		log.G(ctx).WithError(err).Warnf("the watchdog is not fed: systemd restarts the daemon after %s of this", w.period)
	}
}

// ask returns why the CRI does not answer, or nil. It comes on a connection of its own, so that a
// socket that nobody accepts from is noticed too.
func (w *watchdog) ask(ctx context.Context) error {
	conn, err := grpc.NewClient(dialer.DialAddress(w.address), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialer.ContextDialer))
	if err != nil {
		return fmt.Errorf("ask the CRI: %s: %w", w.address, err)
	}
	defer conn.Close()
	_, err = runtimeapi.NewRuntimeServiceClient(conn).Status(ctx, &runtimeapi.StatusRequest{})
	// The daemon answers so where the config turns the CRI off, which is fine.
	if err != nil && status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("ask the CRI: %w", err)
	}
	return nil
}
