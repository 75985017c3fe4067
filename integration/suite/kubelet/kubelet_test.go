// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// atOnce returns the number of pods tested in parallel. They mostly wait. In an emulated machine,
// where a process takes 50 ms to start, so many pods would fail their probes. systemd-detect-virt
// prints qemu for a machine without KVM.
func atOnce() string {
	if machine, _ := exec.Command("systemd-detect-virt").Output(); string(machine) == "qemu\n" {
		return "3"
	}
	return "16"
}

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// scenario is a test of one feature of pods.
type scenario struct {
	name string
	run  func(*testing.T, *node)
}

// pods are scenarios that run in parallel on one kubelet.
var pods = []scenario{
	{"init and sidecar containers", initAndSidecar},
	{"HTTP liveness probe", livenessProbe},
	{"exec readiness probe", readinessProbe},
	{"HTTP startup probe", startupProbe},
	{"lifecycle hooks", lifecycleHooks},
	{"restart after a crash", restartAfterCrash},
	{"restart after out of memory", restartAfterOOM},
	{"termination message", terminationMessage},
	{"graceful deletion", gracefulDeletion},
	{"host port", hostPort},
	{"host network", hostNetwork},
	{"host PID", hostPID},
	{"shared process namespace", sharedProcessNamespace},
	{"user namespace", userNamespace},
	{"empty directories", emptyDirs},
	{"host path", hostPath},
	{"sub path", subPath},
	{"downward API volume", downwardVolume},
	{"image volume", imageVolume},
	{"image names", imageNames},
	{"images that cannot be pulled", refusedImages},
	{"resources", resources},
	{"exec", execStreams},
	{"attach", attachStreams},
	{"port-forward", portForward},
	{"logs", containerLogs},
	{"log rotation", logRotation},
	{"stats summary", summary},
	{"cAdvisor metrics", cadvisorMetrics},
	{"evented PLEG", eventedPLEG},
}

// alpha are scenarios that need a feature gate, which is on only in the first of two runs.
var alpha = []scenario{
	{"stop signal", stopSignal},
	{"user namespace in the host network", userNamespaceHostNetwork},
}

// gates are the feature gates that change the kubelet's requests to the runtime. All are off by
// default. ImageVolumeWithDigest is left out: v1.37.0 looks for the name of the volume in the
// runtime's answer, where no runtime can set it.
var gates = []string{
	"EventedPLEG", "PodAndContainerStatsFromCRI", "CRIListStreaming", "ContainerStopSignals", "UserNamespacesHostNetworkSupport",
}

// restarts are scenarios that run one after the other, because they stop programs that the others
// need.
var restarts = []scenario{
	{"kubelet restarted", kubeletRestart},
	{"runtime restarted", daemonRestart},
	{"runtime killed", daemonKill},
	{"image garbage collection", imageCollection},
}

// TestKubelet runs every scenario with the kubelet's newer requests to the runtime, and with its
// older ones.
//
// The control, stock containerd v2.4.2 with its own shim, differs where a container exits while no
// daemon runs (daemonKill): its exit code is lost, and the kubelet reports 255 and Unknown; and
// where an image cannot be pulled (refusedImages).
func TestKubelet(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("gates %t", on), func(t *testing.T) {
			set, run := map[string]bool{}, pods
			for _, gate := range gates {
				set[gate] = on
			}
			if on {
				run = append(slices.Clone(pods), alpha...)
			}
			n := start(t, set)
			t.Run("pods", func(t *testing.T) {
				for _, s := range run {
					t.Run(s.name, func(t *testing.T) {
						t.Parallel()
						s.run(t, n)
					})
				}
			})
			for _, s := range restarts {
				t.Run(s.name, func(t *testing.T) { s.run(t, n) })
			}
		})
	}
}

// id returns a pod name made from the name of the test.
func id(t *testing.T) string {
	name := t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}
