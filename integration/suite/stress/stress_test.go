// SPDX-License-Identifier: Apache-2.0

// Package stress has many callers make every possible call on a few pods concurrently, and cancel
// some of the calls, while the daemon runs under the race detector. Every answer must be one that a
// sequential run could return. The state of an object must never go back. Events must come once and
// in order. At the end nothing may be left behind.
//
// The callers share a [history] of the answers. It has one lock, which is never held across a call.
package stress

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	callers = 100
	pods    = 30
	perPod  = 2 // containers per pod
)

// TestStress runs for LITE_STRESS (30s) with the random seed LITE_SEED, or a random one. It prints
// the seed.
func TestStress(t *testing.T) {
	duration, seed := environment(t)
	options := harness.FromEnv()
	options.Race = options.WithDefaults().Daemon == harness.Lite
	bench := harness.StartWith(t, options)
	r := &run{T: t, bench: bench, CRI: bench.Client(t, image.Busybox), history: newHistory(t.Errorf), counts: newCounts()}
	for i := range pods {
		r.places = append(r.places, &place{config: podConfig(bench, i)})
	}
	held := heldBy(t, bench)
	events := r.subscribe()
	fmt.Printf("report: stress: seed %d, %s\n", seed, duration)
	r.do(duration, seed)
	r.removeAll()
	r.checkEvents(events)
	if err := harness.Await(t.Context(), func() error {
		if now := heldBy(t, bench); !slices.Equal(now, held) {
			return fmt.Errorf("the daemon has open %v, at the start %v", now, held)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	r.counts.report()
}

func environment(t *testing.T) (duration time.Duration, seed uint64) {
	t.Helper()
	duration, seed = 30*time.Second, rand.Uint64()
	var err error
	if asked := os.Getenv("LITE_STRESS"); asked != "" {
		if duration, err = time.ParseDuration(asked); err != nil {
			t.Fatalf("LITE_STRESS: %v", err)
		}
	}
	if asked := os.Getenv("LITE_SEED"); asked != "" {
		if seed, err = strconv.ParseUint(asked, 10, 64); err != nil {
			t.Fatalf("LITE_SEED: %v", err)
		}
	}
	return duration, seed
}

// run is one run of the suite.
type run struct {
	*testing.T
	*harness.CRI
	bench   *harness.Bench
	history *history
	counts  *counts
	places  []*place
}

// place is a pod name under which pods are run again and again.
type place struct {
	config *runtimeapi.PodSandboxConfig

	mu         sync.Mutex
	pod        string // ID of the last observed one
	containers [perPod]string
}

// podConfig returns configs of all kinds of pods: on the host network, with a shared PID namespace,
// in a user namespace.
func podConfig(bench *harness.Bench, i int) *runtimeapi.PodSandboxConfig {
	config := bench.PodConfig(fmt.Sprintf("stress-%d", i))
	options := config.Linux.SecurityContext.NamespaceOptions
	switch i % 6 {
	case 0, 1, 2:
		harness.OnHostNetwork(config)
	case 3:
		options.Pid = runtimeapi.NamespaceMode_POD
	case 4:
		mapping := []*runtimeapi.IDMapping{{HostId: uint32(1+i) << 16, Length: 1 << 16}}
		options.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: mapping, Gids: mapping}
	}
	return config
}

// do runs the callers.
func (r *run) do(duration time.Duration, seed uint64) {
	ctx, cancel := context.WithTimeout(r.Context(), duration)
	defer cancel()
	plan := plan()
	var group sync.WaitGroup
	for i := range uint64(callers) {
		group.Go(func() {
			c := &caller{run: r, random: rand.New(rand.NewPCG(seed, i))}
			for ctx.Err() == nil && !r.history.broken() {
				c.place = r.places[c.random.IntN(pods)]
				plan[c.random.IntN(len(plan))](c)
			}
		})
	}
	group.Wait()
}

// removeAll removes the remaining pods, as the kubelet would, and checks that the lists are empty.
// A canceled RunPodSandbox may still be in progress: it is taken over first.
func (r *run) removeAll() {
	c := &caller{run: r, random: rand.New(rand.NewPCG(0, 0)), patient: true}
	for _, c.place = range r.places {
		c.runPod()
	}
	for _, id := range c.podsOf(nil) {
		c.stopPod(id)
		c.removePod(id)
	}
	if left := append(c.podsOf(nil), c.containersOf(nil)...); len(left) > 0 {
		r.Errorf("still listed: %v", left)
	}
}

// heldBy returns the files below the bench's root that the daemon has open. It must not keep open a
// pipe, namespace or log of a removed pod or container.
func heldBy(t *testing.T, bench *harness.Bench) []string {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", bench.Daemon.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, fd := range fds {
		if file, err := os.Readlink(fd); err == nil && strings.HasPrefix(file, bench.Root) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	return files
}
