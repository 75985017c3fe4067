// SPDX-License-Identifier: Apache-2.0

package option

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

func pack(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	msg, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// bare removes the host of a type URL, as typeurl does.
func bare(msg *anypb.Any) *anypb.Any {
	_, name, _ := strings.Cut(msg.TypeUrl, "/")
	return &anypb.Any{TypeUrl: name, Value: msg.Value}
}

func TestParse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options.toml")
	if err := os.WriteFile(file, []byte("SystemdCgroup = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := &options.Options{
		NoPivotRoot: true, NoNewKeyring: true, ShimCgroup: "/shims", IoUid: 1, IoGid: 2,
		BinaryName: "crun", Root: "/run/crun", SystemdCgroup: true, CriuImagePath: "/i", CriuWorkPath: "/w",
	}
	body := `
BinaryName = "crun"
CriuImagePath = "/i"
CriuPath = ""
CriuWorkPath = "/w"
IoGid = 2
IoUid = 1
NoNewKeyring = true
NoPivotRoot = true
Root = "/run/crun"
ShimCgroup = "/shims"
SystemdCgroup = true
TypeUrl = "any"
`
	tests := []struct {
		name      string
		msg       *anypb.Any
		want      *options.Options
		anyDriver bool
	}{
		{"none", nil, &options.Options{}, true},
		{"empty", &anypb.Any{}, &options.Options{}, true},
		{"runc", pack(t, full), full, false},
		{"runc, bare name", bare(pack(t, full)), full, false},
		{"table", pack(t, &runtimeoptions.Options{ConfigBody: []byte(body)}), full, false},
		{"table, bare name", bare(pack(t, &runtimeoptions.Options{ConfigBody: []byte(body)})), full, false},
		{
			"file before table",
			pack(t, &runtimeoptions.Options{ConfigPath: file, ConfigBody: []byte("BinaryName = 'x'")}),
			&options.Options{SystemdCgroup: true},
			false,
		},
		{"only a type", pack(t, &runtimeoptions.Options{TypeUrl: "any"}), &options.Options{}, true},
		{"cgroupfs", pack(t, &runtimeoptions.Options{ConfigBody: []byte("SystemdCgroup = false")}), &options.Options{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.msg)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Options{Options: tt.want, Own: shimoption.Default(), AnyDriver: tt.anyDriver}, got, protocmp.Transform()); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

// TestChooseDriver checks that the path of a systemd scope selects the systemd driver only if the
// options do not set a driver and the host runs systemd.
func TestChooseDriver(t *testing.T) {
	const scope, plain = "system.slice:docker:abc", "/docker/abc"
	for _, tt := range []struct {
		msg     *anypb.Any
		path    string
		systemd bool
		want    bool
	}{
		{nil, scope, true, true},
		{nil, scope, false, false},
		{nil, plain, true, false},
		{pack(t, &runtimeoptions.Options{ConfigBody: []byte("BinaryName = 'crun'")}), scope, true, true},
		{pack(t, &runtimeoptions.Options{ConfigBody: []byte("SystemdCgroup = false")}), scope, true, false},
		{pack(t, &runtimeoptions.Options{ConfigBody: []byte("SystemdCgroup = true")}), plain, false, true},
		{pack(t, &options.Options{BinaryName: "crun"}), scope, true, false},
	} {
		opts, err := Parse(tt.msg)
		if err != nil {
			t.Fatal(err)
		}
		opts.ChooseDriver(tt.path, tt.systemd)
		if opts.SystemdCgroup != tt.want {
			t.Errorf("%v, %s, systemd %t: systemd's driver %t, want %t", tt.msg, tt.path, tt.systemd, opts.SystemdCgroup, tt.want)
		}
	}
}

func TestFastExec(t *testing.T) {
	for body, want := range map[string]bool{"": false, "FastExec = false": false, "fastexec = true": true} {
		got, err := Parse(pack(t, &runtimeoptions.Options{ConfigBody: []byte(body)}))
		if err != nil || got.FastExec != want {
			t.Errorf("%q: %t, %v, want %t", body, got.FastExec, err, want)
		}
	}
}

func TestSharing(t *testing.T) {
	keys := map[string]string{}
	for body, want := range map[string]shimoption.Pods{
		"":                                  shimoption.Pod,
		"Sharing = 'pod'":                   shimoption.Pod,
		"sharing = 'node'":                  shimoption.Node,
		"Sharing = 16":                      16,
		"Sharing = 16\nBinaryName = 'crun'": 16,
	} {
		got, err := Parse(pack(t, &runtimeoptions.Options{ConfigBody: []byte(body), TypeUrl: "any"}))
		if err != nil || got.Sharing != want {
			t.Errorf("%q: %d, %v, want %d", body, got.Sharing, err, want)
		}
		key, err := got.Key()
		if err != nil {
			t.Fatal(err)
		}
		if other := keys[key]; other != "" && want.Shared() {
			t.Errorf("%q and %q have the same key", body, other)
		}
		keys[key] = body
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		msg  *anypb.Any
		want string
	}{
		{"unknown key", pack(t, &runtimeoptions.Options{ConfigBody: []byte("BinaryNam = 'crun'")}), `"BinaryNam"`},
		{"unknown table", pack(t, &runtimeoptions.Options{ConfigBody: []byte("[nvidia]\npath = 'x'")}), `"nvidia"`},
		{"no TOML", pack(t, &runtimeoptions.Options{ConfigBody: []byte("{")}), "invalid argument"},
		{"wrong type", pack(t, &runtimeoptions.Options{ConfigBody: []byte("IoUid = 'root'")}), "invalid argument"},
		{"sharing", pack(t, &runtimeoptions.Options{ConfigBody: []byte("Sharing = 'foo'")}), `Sharing: "foo"`},
		{"fast exec", pack(t, &runtimeoptions.Options{ConfigBody: []byte("FastExec = 1")}), "FastExec"},
		{"sharing 0", pack(t, &runtimeoptions.Options{ConfigBody: []byte("Sharing = 0")}), "Sharing: 0"},
		{"sharing 1.5", pack(t, &runtimeoptions.Options{ConfigBody: []byte("Sharing = 1.5")}), "Sharing: 1.5"},
		{"no file", pack(t, &runtimeoptions.Options{ConfigPath: "/no/such/file"}), "/no/such/file"},
		{"other type", &anypb.Any{TypeUrl: "example.com/Other", Value: []byte{1}}, `"example.com/Other"`},
		{"damaged", &anypb.Any{TypeUrl: "containerd.runc.v1.Options", Value: []byte{0xff}}, "invalid argument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.msg)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want invalid argument with %q", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("containerd.runc.v1.Options", []byte{0x32, 1, 'x'})
	f.Add("runtimeoptions.v1.Options", []byte("\x1a\x0dIoUid = 1\n[a]"))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		msg := &anypb.Any{TypeUrl: name, Value: value}
		generic := &runtimeoptions.Options{}
		if msg.MessageIs(generic) && msg.UnmarshalTo(generic) == nil && generic.ConfigPath != "" {
			t.Skip("names a file of this machine")
		}
		opts, err := Parse(msg)
		if (opts.Options == nil) == (err == nil) {
			t.Errorf("Parse = %v, %v", opts, err)
		}
		if err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("error = %v, want invalid argument", err)
		}
	})
}
