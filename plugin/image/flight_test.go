// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
)

func TestFlightsDoNotInheritCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t.Context())
		defer f.close()
		started := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := make(chan struct{})
		go func() {
			_, err := f.do(ctx, "key", func(ctx context.Context) (string, error) {
				close(started)
				<-ctx.Done()
				<-cancelled // the cleanup is slow
				return "", ctx.Err()
			})
			checkClass(t, err, context.Canceled)
		}()
		<-started
		cancel()
		synctest.Wait()
		got, err := f.do(t.Context(), "key", func(context.Context) (string, error) { return "fresh", nil })
		if err != nil || got != "fresh" {
			t.Errorf("joined cancelled work: %q, %v", got, err)
		}
		close(cancelled)
	})
}

func TestFlightsEndWithTheService(t *testing.T) {
	service, stop := context.WithCancel(t.Context())
	f := newFlights(service)
	_, err := f.do(t.Context(), "key", func(ctx context.Context) (string, error) {
		stop()
		<-ctx.Done()
		return "", ctx.Err()
	})
	checkClass(t, err, context.Canceled)
	f.close()
	_, err = f.do(t.Context(), "key", nil)
	checkClass(t, err, errdefs.ErrUnavailable)
}

func TestFlightsRefuseCanceledCalls(t *testing.T) {
	f := newFlights(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.do(ctx, "key", func(context.Context) (string, error) {
		t.Error("work was started")
		return "", nil
	})
	checkClass(t, err, context.Canceled)
}
