// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"strings"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/option"
)

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func modern(t testing.TB, change func(*bootapi.BootstrapParams)) []byte {
	t.Helper()
	p := &bootapi.BootstrapParams{InstanceID: "web", Namespace: "k8s.io"}
	change(p)
	return encode(t, p)
}

func legacy(t testing.TB, opts *options.Options) []byte {
	t.Helper()
	msg, err := anypb.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, msg)
}

func TestRead(t *testing.T) {
	dir := "/run/other/s"
	shims := option.Options{Options: &options.Options{ShimCgroup: "/shims"}, Own: shimoption.Own{Sharing: shimoption.Pod}}
	tests := []struct {
		name  string
		input []byte
		want  *Params
	}{
		{"modern", modern(t, func(*bootapi.BootstrapParams) {}), &Params{SocketDir: defaultSocketDir, Options: option.Default()}},
		{
			"modern with everything",
			modern(t, func(p *bootapi.BootstrapParams) {
				p.SocketDir = &dir
				p.ContainerdTtrpcAddress = "/run/other/c.ttrpc"
				p.LogLevel = bootapi.LogLevel_LOG_LEVEL_TRACE
				if err := p.AddExtension(&types.MountCapabilities{}); err != nil {
					t.Fatal(err)
				}
				if err := p.AddExtension(&options.Options{ShimCgroup: "/shims"}); err != nil {
					t.Fatal(err)
				}
			}),
			&Params{SocketDir: dir, Events: "/run/other/c.ttrpc", Debug: true, Options: shims},
		},
		{
			"shared shim",
			modern(t, func(p *bootapi.BootstrapParams) {
				if err := p.AddExtension(&runtimeoptions.Options{ConfigBody: []byte("Sharing = 16")}); err != nil {
					t.Fatal(err)
				}
			}),
			&Params{SocketDir: defaultSocketDir, Options: option.Options{Options: &options.Options{}, Own: shimoption.Own{Sharing: 16}, AnyDriver: true}},
		},
		{
			"options that Create refuses",
			modern(t, func(p *bootapi.BootstrapParams) {
				if err := p.AddExtension(&runtimeoptions.Options{ConfigBody: []byte("Sharing = 0")}); err != nil {
					t.Fatal(err)
				}
			}),
			&Params{SocketDir: defaultSocketDir, Options: option.Default()},
		},
		{"legacy without options", nil, &Params{SocketDir: defaultSocketDir, Legacy: true, Options: option.Default()}},
		{
			"legacy with options",
			legacy(t, &options.Options{ShimCgroup: "/shims"}),
			&Params{SocketDir: defaultSocketDir, Legacy: true, Options: shims},
		},
		{
			// The encoding of an Any is also valid for BootstrapParams, with the type URL as the
			// id. Only the id on the command line shows the difference.
			"legacy that looks modern",
			encode(t, &anypb.Any{TypeUrl: "other", Value: []byte("k8s.io")}),
			&Params{SocketDir: defaultSocketDir, Legacy: true, Options: option.Default()},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read(bytes.NewReader(tt.input), "web", "k8s.io")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("params (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	relative := "s"
	for name, input := range map[string][]byte{
		"no protobuf":               []byte("\xff\xff"),
		"relative socket directory": modern(t, func(p *bootapi.BootstrapParams) { p.SocketDir = &relative }),
		"too large":                 bytes.Repeat([]byte{0}, maxInput+1),
	} {
		if _, err := Read(bytes.NewReader(input), "web", "k8s.io"); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v, want invalid argument", name, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	const address = "unix:///run/containerd/s/x"
	data, err := (&Params{}).Answer(address)
	if err != nil {
		t.Fatal(err)
	}
	result := &bootapi.BootstrapResult{}
	if err := proto.Unmarshal(data, result); err != nil {
		t.Fatal(err)
	}
	if result.Version != 3 || result.Address != address || result.Protocol != "ttrpc" {
		t.Errorf("answer = %v", result)
	}
	if found, err := result.FindExtension(&types.MountCapabilities{}); !found || err != nil {
		t.Errorf("mount capabilities: found %v, %v", found, err)
	}
	if data, err := (&Params{Legacy: true}).Answer(address); err != nil || string(data) != address {
		t.Errorf("legacy answer = %q, %v", data, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(modern(f, func(*bootapi.BootstrapParams) {}))
	f.Add(legacy(f, &options.Options{ShimCgroup: "/shims"}))
	f.Fuzz(func(t *testing.T, input []byte) {
		if bytes.Contains(input, []byte("ConfigPath")) || strings.Contains(string(input), "runtimeoptions") {
			t.Skip("may name a file of this machine")
		}
		p, err := Read(bytes.NewReader(input), "web", "k8s.io")
		if (p == nil) == (err == nil) {
			t.Fatalf("Read = %v, %v", p, err)
		}
		if err == nil && p.SocketDir == "" {
			t.Error("no socket directory")
		}
	})
}
