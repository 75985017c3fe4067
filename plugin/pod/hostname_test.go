// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"encoding/json"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestHostname renames the host: a pod keeps its hostname in its UTS namespace, its files and the
// environment of its containers.
func TestHostname(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	wantName := func(id, want string) {
		t.Helper()
		r, err := m.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		for place, got := range map[string]string{
			"record":                    r.Hostname,
			"UTS namespace":             m.pinOptions(r).Hostname,
			"environment of containers": r.SpecPod().Hostname,
			"files":                     f.hostnames[id],
		} {
			if got != want {
				t.Errorf("%s: hostname %q, want %q", place, got, want)
			}
		}
	}
	run := func(name, hostname string) string {
		t.Helper()
		c := ownPID(name)
		c.Hostname = hostname
		if hostname == "" {
			c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
		}
		id := mustRun(t, m, c)
		return id
	}
	f.hostname = "before"
	first := run("first", "")
	f.hostname = "after"
	wantName(first, "before")
	wantName(run("second", ""), "after")
	wantName(run("third", "own"), "own")
}

func TestHostnameOfOlderRecord(t *testing.T) {
	f := newFakeNode()
	f.hostname = "node"
	m := newManager(t, f)
	c := ownPID("web")
	c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
	id := mustRun(t, m, c)
	var record map[string]any
	if err := json.Unmarshal(f.SandboxRecords[id], &record); err != nil {
		t.Fatal(err)
	}
	delete(record, "hostname")
	older, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	f.SandboxRecords[id] = older
	m.Close()
	m = recoveredManager(t, f)
	if r, err := m.Get(id); err != nil || r.Hostname != "node" {
		t.Errorf("hostname %q, %v; want the hostname of the host", r.Hostname, err)
	}
}
