// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Session is a bench and a client of its daemon: what most suites begin with and add steps of their
// own to.
type Session struct {
	*Bench
	*CRI
}

// Open gives a test the bench of [Start], and a client that has pulled images.
func Open(t *testing.T, images ...string) Session {
	t.Helper()
	return OpenWith(t, FromEnv(), images...)
}

// OpenWith is [Open] with options of the test's own.
func OpenWith(t *testing.T, o Options, images ...string) Session {
	t.Helper()
	b := StartWith(t, o)
	return Session{b, b.Client(t, images...)}
}

// Pod runs a pod until the test ends and returns its id.
func (s Session) Pod(t *testing.T, config *runtimeapi.PodSandboxConfig) string {
	t.Helper()
	id, err := s.RunPod(t.Context(), config)
	if err != nil {
		t.Fatalf("run the pod %s: %v", config.Metadata.Name, err)
	}
	s.RemoveAfter(t, id)
	return id
}

// RemoveAfter removes a pod when the test ends; one that is gone by then is no error.
func (s Session) RemoveAfter(t *testing.T, pod string) {
	t.Helper()
	t.Cleanup(func() {
		if err := s.RemovePod(After(t), pod); err != nil {
			t.Errorf("remove the pod: %v", err)
		}
	})
}
