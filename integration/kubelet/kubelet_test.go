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

// atOnce is how many pods are tested at once. They wait, most of the time; but in an emulated
// machine, where a process takes fifty milliseconds to start, so many would fail their probes.
func atOnce() string {
	if machine, _ := exec.Command("systemd-detect-virt").Output(); string(machine) == "qemu\n" { // without KVM
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

// scenario is what a user does with a pod.
type scenario struct {
	name string
	run  func(*testing.T, *node)
}

// pods run next to each other on one kubelet.
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

// alpha need a gate that is on in the first of two runs only.
var alpha = []scenario{
	{"stop signal", stopSignal},
	{"user namespace in the host network", userNamespaceHostNetwork},
}

// gates are those that change what the kubelet asks of the runtime. All are off by default.
// ImageVolumeWithDigest is not among them: v1.37.0 looks for the name of the volume in the
// runtime's answer, where no runtime can put it.
var gates = []string{
	"EventedPLEG", "PodAndContainerStatsFromCRI", "CRIListStreaming", "ContainerStopSignals", "UserNamespacesHostNetworkSupport",
}

// restarts run one after the other, because they stop what the others need.
var restarts = []scenario{
	{"kubelet restarted", kubeletRestart},
	{"runtime restarted", daemonRestart},
	{"runtime killed", daemonKill},
	{"image garbage collection", imageCollection},
}

// TestKubelet runs every scenario with the kubelet's newer ways of asking the runtime, and with its
// older ones.
//
// The control, stock containerd v2.4.2 with its own shim, differs where a container ends while no
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

// id is a name for a pod, made of the test's.
func id(t *testing.T) string {
	name := t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}
