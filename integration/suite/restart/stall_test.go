// SPDX-License-Identifier: Apache-2.0

package restart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	// impatience is the timeout of each call on a slow disk. It is shorter than the calls take.
	impatience = 700 * time.Millisecond
	// slowPods is how many pods run at a time on a slow disk.
	slowPods = 6
)

// TestStalledDisk runs pods on a disk that stands still for most of the time. Each caller gives up
// and repeats its request, as the kubelet does. There must be one object for each request, with its
// exit code and its log, and nothing is left after its removal.
func TestStalledDisk(t *testing.T) {
	options := harness.FromEnv()
	options.DiskMiB = diskMiB
	b := bench{harness.OpenWith(t, options, image.Busybox)}
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd answers the repeated request of a call in progress with an error")
	}
	b.NoLeaks(t, "retries", func(t *testing.T) {
		end, err := harness.StallDisk(b.Bench)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := end(); err != nil {
				t.Error(err)
			}
		}()
		var all sync.WaitGroup
		for i := range slowPods {
			all.Go(func() { b.impatientPod(t, fmt.Sprintf("slow-%d", i)) })
		}
		all.Wait()
	})
}

// impatientPod takes a pod with one container from its start to its removal.
func (b bench) impatientPod(t *testing.T, name string) {
	config := b.PodConfig(name)
	container := harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "echo hello; exit 3")
	pod, err := repeat(t.Context(), func(ctx context.Context) (string, error) { return b.RunPod(ctx, config) })
	if err != nil {
		t.Errorf("%s: RunPodSandbox: %v", name, err)
		return
	}
	id, err := repeat(t.Context(), func(ctx context.Context) (string, error) {
		answer, err := b.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: container, SandboxConfig: config})
		return answer.GetContainerId(), err
	})
	if err != nil {
		t.Errorf("%s: CreateContainer: %v", name, err)
		return
	}
	if _, err := b.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Errorf("%s: StartContainer: %v", name, err)
	}
	exited, err := b.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil || exited.ExitCode != 3 {
		t.Errorf("%s: exit code %d, %v; want 3", name, exited.GetExitCode(), err)
	}
	log, err := os.ReadFile(filepath.Join(config.LogDirectory, container.LogPath))
	if err != nil || !strings.HasSuffix(string(log), " stdout F hello\n") {
		t.Errorf("%s: log %q, %v", name, log, err)
	}
	if _, err := repeat(t.Context(), func(ctx context.Context) (string, error) { return "", b.RemovePod(ctx, pod) }); err != nil {
		t.Errorf("%s: remove: %v", name, err)
	}
}

// repeat repeats a call whose timeout has passed.
func repeat(ctx context.Context, call func(context.Context) (string, error)) (result string, err error) {
	timedOut := harness.Await(ctx, func() error {
		limited, cancel := context.WithTimeout(ctx, impatience)
		defer cancel()
		if result, err = call(limited); status.Code(err) == codes.DeadlineExceeded {
			return err
		}
		return nil
	})
	return result, errors.Join(timedOut, err)
}
