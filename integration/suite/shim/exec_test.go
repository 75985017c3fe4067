// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

const (
	execRounds = 1000
	execsOnce  = 4

	// Allowed growth of a shim: the Go runtime keeps threads and does not return all unused memory
	// to the kernel.
	moreThreads = 3
	moreMemory  = 1 << 10 // KiB
)

// holding is the resource usage of a process.
type holding struct{ files, threads, memory int }

func holds(pid int) (h holding, err error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return h, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return h, err
	}
	h.files = len(files)
	for key, value := range map[string]*int{"Threads:": &h.threads, "RssAnon:": &h.memory} {
		_, text, _ := strings.Cut(string(status), key)
		if _, err := fmt.Sscan(text, value); err != nil {
			return h, err
		}
	}
	return h, nil
}

// manyExecs checks that execs do not increase the resource usage of a shim.
func manyExecs(t *testing.T, s sharing) {
	p := s.start(t, "execs", 1)[0]
	shim, err := s.shimOf(p)
	if err != nil {
		t.Fatal(err)
	}
	s.execute(t, p, execRounds/10)
	before, err := holds(shim)
	if err != nil {
		t.Fatal(err)
	}
	s.execute(t, p, execRounds)
	if err := harness.Await(t.Context(), func() error {
		after, err := holds(shim)
		if err != nil {
			return err
		}
		if after.files > before.files || after.threads > before.threads+moreThreads || after.memory > before.memory+moreMemory {
			return fmt.Errorf("the shim has %+v, before the execs %+v", before, after)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// execute runs a command in a container rounds times.
func (s sharing) execute(t *testing.T, p pod, rounds int) {
	t.Helper()
	var running sync.WaitGroup
	for range execsOnce {
		running.Go(func() {
			for range rounds / execsOnce {
				_, err := s.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"true"}})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}
