// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A reload applies all keys but those that need a restart, which it names.
func TestReloaded(t *testing.T) {
	now := Config{Images: DefaultImages(), Runtime: DefaultRuntime(), Server: DefaultServer()}
	next := Config{Images: DefaultImages(), Runtime: DefaultRuntime(), Server: DefaultServer()}
	next.Runtime.MaxContainerLogLineSize = 1
	next.Runtime.EnableSelinux = true
	next.Images.StatsCollectPeriod = 77
	want := next
	want.Runtime.EnableSelinux = false
	want.Images.StatsCollectPeriod = now.Images.StatsCollectPeriod
	got, pending := now.Reloaded(next)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if keys := []string{RuntimeTable + ".enable_selinux", ImagesTable + ".stats_collect_period"}; !slices.Equal(pending, keys) {
		t.Errorf("pending %q, want %q", pending, keys)
	}
	if _, pending := got.Reloaded(got); len(pending) > 0 {
		t.Errorf("pending without a change: %q", pending)
	}
}

// Readers of a Live see one config or the other, not a mixture, and a new handler at once.
func TestLive(t *testing.T) {
	l := NewLive(Config{Runtime: DefaultRuntime()})
	if _, _, err := l.Handler("kata"); err == nil {
		t.Error("handler kata exists")
	}
	next := Config{Runtime: DefaultRuntime()}
	next.Runtime.Containerd.Runtimes["kata"] = Handler{Type: "io.containerd.kata.v2"}
	l.Set(next)
	name, h, err := l.Handler("kata")
	if err != nil || name != "kata" || h.Type != l.RuntimeType("kata") || !slices.Contains(l.HandlerNames(), "kata") {
		t.Errorf("handler %s %+v, %v", name, h, err)
	}
}
