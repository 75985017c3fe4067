// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCgroups(t *testing.T) {
	r, fifo := created(t)
	state := filepath.Join(filepath.Dir(fifo), stateFile)
	if err := os.WriteFile(state, []byte(`{"id":"web","cgroup_paths":{"pids":"/c/pids/web"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := r.Cgroups("web")
	if diff := cmp.Diff(map[string]string{"pids": "/c/pids/web"}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if _, err := r.Cgroups("absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("container without state: %v", err)
	}
	r.cli.Command = "crun"
	if _, err := r.Cgroups("web"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("crun: %v", err)
	}
}
