// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// besideKubelet runs work while a kubelet polls the daemon and is subscribed to its events, as with
// the feature gate EventedPLEG. It returns the time from each event to its arrival, in
// milliseconds.
func (s *session) besideKubelet(ctx context.Context, work func() error) (delays samples, err error) {
	kubelet, end := context.WithCancel(ctx)
	defer end()
	group, kubelet := errgroup.WithContext(kubelet)
	group.Go(func() error { return unlessEnded(kubelet, poll(kubelet, s.client, byCAdvisor, time.Hour)) })
	group.Go(func() (err error) {
		delays, err = s.eventDelays(kubelet)
		return unlessEnded(kubelet, err)
	})
	err = work()
	end()
	if kubeletErr := group.Wait(); err == nil {
		err = kubeletErr
	}
	return delays, err
}

// unlessEnded returns the error of work that goes on until ctx ends, unless ctx has ended.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// eventDelays reads events until ctx ends, and returns the time from each to its arrival. Stock
// containerd first sends events from before the subscription, which are left out.
func (s *session) eventDelays(ctx context.Context) (samples, error) {
	begin := time.Now()
	stream, err := s.client.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return nil, fmt.Errorf("GetContainerEvents: %w", err)
	}
	var delays samples
	for {
		e, err := stream.Recv()
		if err != nil {
			return delays, fmt.Errorf("GetContainerEvents: %w", err)
		}
		if at := time.Unix(0, e.CreatedAt); at.After(begin) {
			delays = append(delays, milliseconds(time.Since(at)))
		}
	}
}
