// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestConfig checks that every handler has the cgroup driver and the runtime that the options set,
// and that a handler with default options has no options table.
func TestConfig(t *testing.T) {
	type handler struct {
		Options map[string]any `toml:"options"`
	}
	handlers := func(o Options) map[string]handler {
		t.Helper()
		b := &Bench{Options: o.WithDefaults(), Root: "/bench", Network: &Network{}}
		var config struct {
			Plugins map[string]struct {
				Containerd struct {
					Runtimes map[string]handler `toml:"runtimes"`
				} `toml:"containerd"`
			} `toml:"plugins"`
		}
		if err := toml.NewDecoder(strings.NewReader(b.configTOML())).Decode(&config); err != nil {
			t.Fatal(err)
		}
		return config.Plugins["io.containerd.cri.v1.runtime"].Containerd.Runtimes
	}
	for name, h := range handlers(Options{}) {
		if name != HandlerNoRuntime && h.Options != nil {
			t.Errorf("%s: options %v, want none", name, h.Options)
		}
	}
	all := handlers(Options{CgroupDriver: Systemd, Runtime: "crun", Sharing: "16", FastExec: true})
	for name, h := range all {
		if h.Options["SystemdCgroup"] != true {
			t.Errorf("%s: systemd driver not set: %v", name, h.Options)
		}
		if runtime := h.Options["BinaryName"]; (runtime == "crun") == (name == HandlerNoRuntime) {
			t.Errorf("%s: runtime %v", name, runtime)
		}
		if (h.Options["Sharing"] == int64(16)) != (name == HandlerLite) {
			t.Errorf("%s: Sharing %v", name, h.Options["Sharing"])
		}
	}
	if all[HandlerLite].Options["FastExec"] != true {
		t.Errorf("FastExec not set: %v", all[HandlerLite].Options)
	}
	if len(all) != 5 {
		t.Errorf("%d handlers, want 5", len(all))
	}
}

func TestCgroupNames(t *testing.T) {
	for driver, want := range map[string][2]string{
		Cgroupfs: {"/k8s.io/pod-a-b", "/k8s.io/pod-a-b/id"},
		Systemd:  {"/k8s.io.slice/k8s.io-pod_a_b.slice", "/k8s.io.slice/k8s.io-pod_a_b.slice/cri-containerd-id.scope"},
	} {
		b := &Bench{Options: Options{CgroupDriver: driver}}
		pod := b.PodConfig("a-b")
		if got := [2]string{pod.Linux.CgroupParent, b.ContainerCgroup(pod, "id")}; got != want {
			t.Errorf("%s: got %v, want %v", driver, got, want)
		}
	}
}
