// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
)

// TestDeleteAnswersEarly checks that the delete command of a deleted task ends before protobuf and
// what is built on it are initialized. The test binary has the packages of the shim.
func TestDeleteAnswersEarly(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := bundle.Dir(dir).MarkDeleted([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self, "-namespace", "ns", "-id", "web", "-bundle", dir, "delete")
	command.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	command.Stderr = &trace
	answer, err := command.Output()
	if err != nil || string(answer) != "answer" {
		t.Fatalf("delete command: %q, %v", answer, err)
	}
	if !strings.Contains(trace.String(), "init os ") {
		t.Errorf("no trace of initialized packages:\n%s", trace.String())
	}
	for line := range strings.Lines(trace.String()) {
		for _, late := range []string{"github.com/containerd/", "google.golang.org/protobuf/"} {
			if strings.HasPrefix(line, "init "+late) {
				t.Errorf("initialized before the answer: %s", line)
			}
		}
	}
}
