// SPDX-License-Identifier: Apache-2.0

package task

import (
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestFastExecFallsBack checks that a container whose execs need the runtime has them with
// FastExec, too: the runtime of the tests is not runc, and its containers have no namespaces.
func TestFastExecFallsBack(t *testing.T) {
	s := newShim(t)
	r := s.request("web", true, "sleep", "1000")
	options := s.root.Options()
	var err error
	r.Options, err = anypb.New(&runtimeoptions.Options{
		ConfigBody: []byte("FastExec = true\nBinaryName = '" + options.BinaryName + "'\nRoot = '" + options.Root + "'"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.run(r)
	s.runExec(s.exec("web", "probe", "sh", "-c", "exit 3"))
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web", ExecID: "probe"})
	if err != nil || waited.ExitStatus != 3 {
		t.Errorf("Wait = %v, %v, want status 3", waited, err)
	}
	trace := s.root.Trace()
	if last := trace[len(trace)-1]; last != "exec web" {
		t.Errorf("commands of the runtime: %q, want an exec at the end", trace)
	}
}
