// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// atOnce is how many pods are tested at once: they wait, most of the time.
const atOnce = "16"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
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

// restarts run one after the other, because they stop what the others need.
var restarts = []scenario{
	{"kubelet restarted", kubeletRestart},
	{"runtime restarted", daemonRestart},
	{"runtime killed", daemonKill},
	{"image garbage collection", imageCollection},
}

// TestKubelet runs every scenario with the kubelet's newer ways of asking the runtime, and with its older ones.
func TestKubelet(t *testing.T) {
	for _, on := range []bool{true, false} {
		gates := map[string]bool{"EventedPLEG": on, "PodAndContainerStatsFromCRI": on}
		name := fmt.Sprintf("EventedPLEG and PodAndContainerStatsFromCRI %t", on)
		t.Run(name, func(t *testing.T) {
			n := start(t, gates)
			t.Run("pods", func(t *testing.T) {
				for _, s := range pods {
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
