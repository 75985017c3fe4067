// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Session is a bench and a client of its daemon. Most suites embed it and add steps of their own.
type Session struct {
	*Bench
	*CRI
}

// Open starts the bench of [Start] for a test, and returns it with a client that has pulled images.
func Open(t *testing.T, images ...string) Session {
	t.Helper()
	return OpenWith(t, FromEnv(), images...)
}

// OpenWith is [Open] with options set by the test.
func OpenWith(t *testing.T, o Options, images ...string) Session {
	t.Helper()
	b := StartWith(t, o)
	return Session{b, b.Client(t, images...)}
}

// Pod runs a pod, which is removed when the test ends, and returns its ID.
func (s Session) Pod(t *testing.T, config *runtimeapi.PodSandboxConfig) string {
	t.Helper()
	id, err := s.RunPod(t.Context(), config)
	if err != nil {
		t.Fatalf("run pod %s: %v", config.Metadata.Name, err)
	}
	s.RemoveAfter(t, id)
	return id
}

// RemoveAfter removes a pod when the test ends. A pod that no longer exists is no error.
func (s Session) RemoveAfter(t *testing.T, pod string) {
	t.Helper()
	t.Cleanup(func() {
		if err := s.RemovePod(After(t), pod); err != nil {
			t.Errorf("remove pod: %v", err)
		}
	})
}
