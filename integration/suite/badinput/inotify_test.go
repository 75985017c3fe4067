// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestNoInotify uses up the user's inotify instances (fs.inotify.max_user_instances): the daemon
// must start, log that once, still notice a new CNI configuration, and run pods.
func TestNoInotify(t *testing.T) {
	options := harness.FromEnv()
	options.Inject = "inotify_init1:error=EMFILE"
	if options.WithDefaults().Daemon == harness.Stock {
		t.Skip("stock containerd has no CRI without inotify")
	}
	b := benchWith(t, options)
	if count := strings.Count(b.Daemon.LogTail(1000), "max_user_instances"); count != 1 {
		t.Errorf("the log reports %d times that no inotify instance is left, want once", count)
	}
	restore, err := b.Network.Hide()
	if err != nil {
		t.Fatal(err)
	}
	b.networkReady(t, false)
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	b.networkReady(t, true)
	config := b.PodConfig("inotify")
	pod := b.Pod(t, config)
	if _, err := b.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000")); err != nil {
		t.Error(err)
	}
}
