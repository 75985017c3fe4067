// SPDX-License-Identifier: Apache-2.0

package restart

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	// exiting is the number of containers that exit while nothing can be saved.
	exiting = 5
	// diskMiB is the size of the disk that is filled.
	diskMiB = 200
)

// outages returns the durations of the disk faults: LITE_OUTAGES, or five seconds.
func outages(t *testing.T) []time.Duration {
	t.Helper()
	text := os.Getenv("LITE_OUTAGES")
	if text == "" {
		text = "5s"
	}
	var all []time.Duration
	for field := range strings.FieldsSeq(text) {
		d, err := time.ParseDuration(field)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// TestUnwritableDatabase makes containerd's metadata unwritable while pods run. A container that
// exits meanwhile must be reported as exited at once, with its exit code. After the fault
// everything must work without a restart.
func TestUnwritableDatabase(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox)}
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd keeps the state of containers in files beside its database")
	}
	for _, outage := range outages(t) {
		b.NoLeaks(t, outage.String(), func(t *testing.T) { b.diskFault(t, outage, harness.FreezeDatabase) })
	}
}

// TestFullDisk does the same with a full disk.
func TestFullDisk(t *testing.T) {
	options := harness.FromEnv()
	options.DiskMiB = diskMiB
	b := bench{harness.OpenWith(t, options, image.Busybox)}
	for _, outage := range outages(t) {
		b.NoLeaks(t, outage.String(), func(t *testing.T) { b.diskFault(t, outage, harness.FillDisk) })
	}
}

// diskFault lets containers exit, and stops one, during a fault of the disk.
func (b bench) diskFault(t *testing.T, outage time.Duration, begin func(*harness.Bench) (end func() error, err error)) {
	running := make([]pod, pods)
	for i := range running {
		running[i] = b.start(t, fmt.Sprintf("disk-%d", i))
	}
	begun := time.Now()
	end, err := begin(b.Bench)
	if err != nil {
		t.Fatal(err)
	}
	over := false
	defer func() {
		if !over {
			_ = end()
		}
	}()
	for _, p := range running[:exiting] {
		p.end(t)
	}
	for _, p := range running[:exiting] {
		b.checkEnded(t, p)
	}
	stopped := running[exiting]
	if _, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: stopped.container}); err != nil {
		t.Errorf("StopContainer while nothing can be saved: %v", err)
	}
	time.Sleep(outage - time.Since(begun)) // duration of the fault
	over = true
	if err := end(); err != nil {
		t.Fatal(err)
	}
	for _, p := range running[:exiting] {
		b.checkEnded(t, p)
	}
	b.checkKilled(t, stopped)
	for _, p := range running[exiting+1:] {
		b.checkRunning(t, p)
	}
	b.checkLists(t, running)
	for _, p := range running {
		if err := b.RemovePod(t.Context(), p.id); err != nil {
			t.Errorf("remove pod %s: %v", p.config.Metadata.Name, err)
		}
	}
}

// checkKilled checks the exit code of a container that was stopped without a grace period.
func (b bench) checkKilled(t *testing.T, p pod) {
	t.Helper()
	const killed = 137 // 128 + SIGKILL
	status, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	if status.ExitCode != killed {
		t.Errorf("the stopped container: exit code %d, reason %q, want %d", status.ExitCode, status.Reason, killed)
	}
}
