// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// inFlight is the number of pods of the soak that exist at the same time.
const inFlight = 10

// TestSoak runs and removes LITE_SOAK (100) pods, each with a network, a container and an exec,
// beside one that keeps running. Afterwards the daemon and the shim of the running pod, which is
// the shim of all pods if they share one, must have as many open files as before, and nothing else
// may be left behind.
func TestSoak(t *testing.T) {
	count := soakPods(t)
	bench := harness.Start(t)
	s := soak{T: t, bench: bench, CRI: bench.Client(t, image.Busybox)}
	staying := s.start("staying")
	s.life(0) // creates resources that all pods share
	before, files := s.weigh(), heldBy(t, bench)
	bench.NoLeaks(t, "pods", func(t *testing.T) {
		s := soak{T: t, bench: bench, CRI: s.CRI}
		s.lives(count)
	})
	if err := harness.Await(t.Context(), func() error {
		if now := heldBy(t, bench); !slices.Equal(now, files) {
			return fmt.Errorf("the daemon has open %v, at the start %v", now, files)
		}
		if now := s.weigh(); now.shimFiles > before.shimFiles {
			return fmt.Errorf("the shim has %d open files, at the start %d", now.shimFiles, before.shimFiles)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	after := s.weigh()
	fmt.Printf("report: soak: %d pods; resident KiB of the daemon %d -> %d, of a shim that stayed %d -> %d\n",
		count, before.daemon, after.daemon, before.shim, after.shim)
	if err := s.RemovePod(t.Context(), staying); err != nil {
		t.Error(err)
	}
}

func soakPods(t *testing.T) int {
	t.Helper()
	asked := os.Getenv("LITE_SOAK")
	if asked == "" {
		return 100
	}
	count, err := strconv.Atoi(asked)
	if err != nil {
		t.Fatalf("LITE_SOAK: %v", err)
	}
	return count
}

type soak struct {
	*testing.T
	*harness.CRI
	bench *harness.Bench
}

// lives runs pods, inFlight at a time, and stops at the first error.
func (s soak) lives(count int) {
	var next atomic.Int64
	var group errgroup.Group
	for range inFlight {
		group.Go(func() error {
			for n := next.Add(1); n <= int64(count) && s.Context().Err() == nil; n = next.Add(1) {
				if err := s.tryLife(fmt.Sprint("soak-", n)); err != nil {
					next.Store(int64(count))
					return fmt.Errorf("pod %d of %d: %w", n, count, err)
				}
			}
			return s.Context().Err()
		})
	}
	if err := group.Wait(); err != nil {
		s.Fatal(err)
	}
}

func (s soak) life(n int) {
	s.Helper()
	if err := s.tryLife(fmt.Sprint("soak-", n)); err != nil {
		s.Fatal(err)
	}
}

// tryLife runs a pod from its start to its removal.
func (s soak) tryLife(name string) error {
	pod, container, err := s.tryStart(name)
	if err == nil {
		_, err = s.ExecSync(s.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"true"}})
	}
	if pod == "" {
		return err
	}
	return errors.Join(err, s.RemovePod(harness.After(s.T), pod))
}

// start runs a pod and returns its ID.
func (s soak) start(name string) string {
	s.Helper()
	pod, _, err := s.tryStart(name)
	if err != nil {
		s.Fatal(err)
	}
	return pod
}

func (s soak) tryStart(name string) (pod, container string, err error) {
	config := s.bench.PodConfig(name)
	if pod, err = s.RunPod(s.Context(), config); err != nil {
		return "", "", err
	}
	container, err = s.CRI.Run(s.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	return pod, container, err
}

// weight is the resource usage of the daemon and a shim.
type weight struct {
	daemon, shim int // resident, in KiB
	shimFiles    int
}

// weigh measures the daemon and the oldest shim.
func (s soak) weigh() weight {
	s.Helper()
	shims, err := s.bench.Processes("containerd-shim")
	if err != nil || len(shims) == 0 {
		s.Fatalf("shims %v, %v, want one", shims, err)
	}
	shim := slices.Min(shims)
	files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(shim), "fd"))
	if err != nil {
		s.Fatal(err)
	}
	return weight{daemon: s.resident(s.bench.Daemon.PID()), shim: s.resident(shim), shimFiles: len(files)}
}

func (s soak) resident(pid int) int {
	s.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		s.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				s.Fatal(err)
			}
			return kib
		}
	}
	s.Fatalf("process %d: no VmRSS", pid)
	return 0
}
