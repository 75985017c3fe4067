// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func full() *Request {
	return &Request{
		InitPID: 1, Namespaces: 2, CgroupProcs: []string{"/a", "/b"}, Keyring: "k", OOMScoreAdj: "-3", AppArmorProfile: "p",
		Umask: 0o22, HasUmask: true,
		User: User{4, 5, []uint64{6, 1 << 31}}, Capabilities: Capabilities{9, 10, 11, 12, 1 << 63},
		Limits: []Limit{{7, 8, 1<<64 - 1}}, NoNewPrivs: true,
		Cwd: "/w", Args: []string{"a", ""}, Env: []string{"A=1"},
	}
}

func TestRequestSurvivesItsEncoding(t *testing.T) {
	want := full()
	got, err := Decode(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// TestPartOfARequestIsRefused checks that a request that was cut off is never one with other
// fields.
func TestPartOfARequestIsRefused(t *testing.T) {
	data := full().Encode()
	for n := range data {
		if r, err := Decode(data[:n]); err == nil {
			t.Fatalf("%d of %d bytes: %+v", n, len(data), r)
		}
	}
	if r, err := Decode(append(data, 0)); err == nil {
		t.Errorf("a byte too many: %+v", r)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(r.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSameAfterExec(t *testing.T) {
	for _, test := range []struct {
		ours, theirs, profile string
		want                  bool
	}{
		{"", "", "", true},
		{"unconfined\n", "unconfined\n", "", true},
		{"unconfined\n", "p (enforce)\n", "", false},
		{"p (enforce)\n", "p (enforce)\n", "", true},
		{"unconfined\n", "p (enforce)\n", "p", true},
		{"unconfined\n", "p (complain)\n", "p", true},
		{"unconfined\n", "a (b) (enforce)\n", "a (b)", true},
		{"unconfined\n", "unconfined\n", "unconfined", true},
		{"unconfined\n", "unconfined\n", "p", false},
		{"unconfined\n", "p//hat (enforce)\n", "p", false},
		{"p (enforce)\n", "p (enforce)\n", "p", false},
		{"", "", "p", false},
		{"system_u:system_r:spc_t:s0\x00", "p", "p", false},
	} {
		if got := sameAfterExec(test.ours, test.theirs, test.profile); got != test.want {
			t.Errorf("%q, %q, profile %q: %v", test.ours, test.theirs, test.profile, got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got, err := environment([]string{"A=1", "HOME=/x", "B=x=y", "A=2", "HOME=", "C="})
	if diff := cmp.Diff([]string{"B=x=y", "A=2", "C="}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"A", "=1", "", "A=\x00"} {
		if got, err := environment([]string{bad}); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestHome(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\n\n a:x:1000:1000::/home/a: \nb:x:1000:1000::/home/b:\nc:x:5:5:::"
	for uid, want := range map[uint64]string{0: "/root", 1000: "/home/a", 5: "", 6: "/"} {
		if got, err := homeOf([]byte(passwd), uid); err != nil || got != want {
			t.Errorf("home of %d: %q, %v, want %q", uid, got, err, want)
		}
	}
	// runc reads user 0 from some of these lines.
	for _, bad := range []string{"# comment", "+::::::", "a:x:x:0::/h:", "a:x:+1:0::/h:", "a:x:0:0:/h", "a:x:4294967296:0::/h:", "+"} {
		if got, err := homeOf([]byte(bad+"\n"), 1); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"first/tool": 0o644, "second/tool": 0o755, "first/dir/x": 0o755} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	search := "PATH=" + dir + "/first/:" + dir + "/second"
	for _, test := range []struct{ name, path, want string }{
		{"tool", search, dir + "/second/tool"},
		{dir + "/second/tool", "PATH=", dir + "/second/tool"},
		{dir + "/first/tool", search, ""},
		{"dir", search, ""},
		{dir + "/first/dir", search, ""},
		{"absent", search, ""},
		{"", search, ""},
		{"tool", "PATH=", ""},
		{"tool", "NOPATH=" + dir + "/second", ""},
		{"tool", "PATH=relative:" + dir + "/second", ""},
	} {
		got, err := find(test.name, []string{test.path})
		if (err == nil) != (test.want != "") || err == nil && got != test.want {
			t.Errorf("%q in %s: %q, %v, want %q", test.name, test.path, got, err, test.want)
		}
	}
}

// TestReadFile checks that a container cannot make the program wait for a file, or read without
// end.
func TestReadFile(t *testing.T) {
	for _, path := range []string{"/dev/zero", t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		if data, err := readFile(path); err == nil {
			t.Errorf("%s: %d bytes", path, len(data))
		}
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(large); err == nil {
		t.Error("a file that is too large was read")
	}
}
