// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/oci/ocitest"
)

// infoOf runs -info with the options of an OCI runtime and returns these options and the answer.
func infoOf(t *testing.T, runtime string) (*anypb.Any, *types.RuntimeInfo) {
	t.Helper()
	given, err := anypb.New(&options.Options{BinaryName: runtime})
	if err != nil {
		t.Fatal(err)
	}
	input, err := proto.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := Main(t.Context(), []string{"shim", "-info"}, bytes.NewReader(input), &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	got := &types.RuntimeInfo{}
	if err := proto.Unmarshal(stdout.Bytes(), got); err != nil {
		t.Fatal(err)
	}
	return given, got
}

func TestInfo(t *testing.T) {
	given, got := infoOf(t, ocitest.New(t).Options().BinaryName)
	if got.Name != Runtime || !proto.Equal(got.Options, given) {
		t.Errorf("info = %v", got)
	}
	if want := `{"ociVersionMin":"1.0.0","ociVersionMax":"1.3.0"}`; string(got.Features.GetValue()) != want {
		t.Errorf("features = %s, want %s", got.Features.GetValue(), want)
	}
}

// TestInfoOfOldRuntime checks that the shim answers without features if the OCI runtime has no
// features command.
func TestInfoOfOldRuntime(t *testing.T) {
	runtime := filepath.Join(t.TempDir(), "crun")
	if err := os.WriteFile(runtime, []byte("#!/bin/sh\necho unknown command features >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, got := infoOf(t, runtime)
	if got.Name != Runtime || got.Features != nil {
		t.Errorf("info = %v, want no features", got)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-v"}, 0, "Go version"},
		{[]string{"-version"}, 0, "Go version"},
		{[]string{"start"}, 1, "run by containerd"},
		{[]string{"-namespace", "ns", "-id", "a", "dance"}, 1, `command "dance"`},
		{[]string{"-dance"}, 2, "-dance"},
	} {
		var output bytes.Buffer
		code := Main(t.Context(), append([]string{"shim"}, tt.args...), strings.NewReader(""), &output, &output)
		if code != tt.code || !strings.Contains(output.String(), tt.want) {
			t.Errorf("%v: exit code %d, %q, want %d and %q", tt.args, code, output.String(), tt.code, tt.want)
		}
	}
}
