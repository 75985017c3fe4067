// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestDifferences checks that the comparison finds each kind of difference.
func TestDifferences(t *testing.T) {
	made := func(change func(*specs.Spec)) leaves {
		s := &specs.Spec{
			Process: &specs.Process{Cwd: "/", Env: []string{"A=1", "B=2"}, Capabilities: &specs.LinuxCapabilities{Bounding: []string{"X", "Y"}}},
			Mounts:  []specs.Mount{{Destination: "/a", Options: []string{"ro", "nodev"}}, {Destination: "/b"}},
		}
		change(s)
		found := leaves{}
		if err := found.add("", s, func(s string) string { return s }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, c := range []struct {
		name        string
		stock, lite func(*specs.Spec)
		want        []difference
	}{
		{"none", func(*specs.Spec) {}, func(*specs.Spec) {}, nil},
		{"irrelevant order", func(*specs.Spec) {}, func(s *specs.Spec) {
			s.Mounts[0], s.Mounts[1] = s.Mounts[1], s.Mounts[0]
			s.Mounts[1].Options = []string{"nodev", "ro"}
			s.Process.Env = []string{"B=2", "A=1"}
			s.Process.Capabilities.Bounding = []string{"Y", "X"}
		}, nil},
		{"values", func(s *specs.Spec) { s.Process.Cwd = "/x" }, func(s *specs.Spec) { s.Process.Env[0] = "A=3" }, []difference{
			{path: "process.cwd", stock: "/x", lite: "/"}, {path: "process.env[A]", stock: "1", lite: "3"},
		}},
		{"a leaf on one side", func(s *specs.Spec) { s.Hostname = "h" }, func(*specs.Spec) {}, []difference{
			{path: "hostname", stock: "h", lite: absent},
		}},
		{"a duplicate mount", func(*specs.Spec) {}, func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Destination: "/b"}) }, []difference{
			{path: "mounts[/b].destination'", stock: absent, lite: "/b"},
		}},
	} {
		got := differences("", made(c.stock), made(c.lite))
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(difference{})); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
	got := differences("", leaves{refused: "Unknown"}, leaves{"process.cwd": "/"})
	if want := []difference{{path: refused, stock: "Unknown", lite: absent}}; !cmp.Equal(want, got, cmp.AllowUnexported(difference{})) {
		t.Errorf("one daemon refuses: %v, want %v", got, want)
	}
}

func TestAllows(t *testing.T) {
	known := difference{name: "a/*", path: "mounts[*].options", stock: "*", lite: absent}
	for found, want := range map[difference]bool{
		{name: "a/b", path: "mounts[/x].options", stock: "1\n2", lite: absent}: true,
		{name: "b/b", path: "mounts[/x].options", stock: "1", lite: absent}:    false,
		{name: "a/b", path: "mounts[/x].optionsX", stock: "1", lite: absent}:   false,
		{name: "a/b", path: "mounts[/x].options", stock: "1", lite: "2"}:       false,
	} {
		if got := known.allows(found); got != want {
			t.Errorf("%+v: %v, want %v", found, got, want)
		}
	}
}
