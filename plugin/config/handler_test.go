// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

func TestHandler(t *testing.T) {
	r := DefaultRuntime()
	for _, test := range []struct{ ask, name, runtimeType string }{
		{"", "lite", LiteRuntimeType},
		{"lite", "lite", LiteRuntimeType},
		{"runc", "runc", RuncRuntimeType},
	} {
		name, h, err := r.Handler(test.ask)
		if name != test.name || h.Type != test.runtimeType || err != nil {
			t.Errorf("Handler(%q) = %q, %q, %v; want %q, %q", test.ask, name, h.Type, err, test.name, test.runtimeType)
		}
	}
	_, _, err := r.Handler("kata")
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), `"kata"`) || !strings.Contains(err.Error(), "lite, runc") {
		t.Errorf("unknown handler: %v, want an invalid argument that lists the configured handlers", err)
	}
}

func TestRuntimeOptions(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler Handler
		want    proto.Message
	}{
		{"no table", Handler{Type: "io.containerd.kata.v2"}, nil},
		{"names ignore case", Handler{Type: LiteRuntimeType, Options: map[string]any{"systemdcgroup": true, "BINARYNAME": "crun"}},
			&runcoptions.Options{SystemdCgroup: true, BinaryName: "crun"}},
		{"default", defaultHandler(RuncRuntimeType), &runcoptions.Options{}},
		{"removed, but empty", Handler{Type: RuncRuntimeType, Options: map[string]any{"CriuPath": "", "Root": "/r"}},
			&runcoptions.Options{Root: "/r"}},
		{"a shim per pod", Handler{Type: LiteRuntimeType, Options: map[string]any{"Sharing": "pod", "Root": "/r"}},
			&runcoptions.Options{Root: "/r"}},
		{"a shim per node", Handler{Type: LiteRuntimeType, Options: map[string]any{"Sharing": "node", "Root": "/r", "CriuPath": ""}},
			&runtimeoptions.Options{ConfigBody: []byte("Root = '/r'\nSharing = 'node'\n")}},
		{"a shim for several pods", Handler{Type: LiteRuntimeType, Options: map[string]any{"Sharing": "pod", "sharing": int64(16)}},
			&runtimeoptions.Options{ConfigBody: []byte("Sharing = 'pod'\nsharing = 16\n")}},
		{"config path", Handler{Type: "io.containerd.runsc.v1", Options: map[string]any{
			"TypeUrl": "io.containerd.runsc.v1.options", "ConfigPath": "/etc/runsc.toml"}},
			&runtimeoptions.Options{TypeUrl: "io.containerd.runsc.v1.options", ConfigPath: "/etc/runsc.toml"}},
		{"body", Handler{Type: "io.containerd.kata.v2", Options: map[string]any{"Debug": true}},
			&runtimeoptions.Options{ConfigBody: []byte("Debug = true\n")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.handler.RuntimeOptions()
			if err != nil {
				t.Fatal(err)
			}
			message, _ := got.(proto.Message)
			if (message == nil) != (test.want == nil) || message != nil && !proto.Equal(message, test.want) {
				t.Errorf("options %v, want %v", got, test.want)
			}
		})
	}
}

func TestIOOwner(t *testing.T) {
	for name, test := range map[string]struct {
		handler Handler
		want    proto.Message
	}{
		"no options": {Handler{Type: RuncRuntimeType}, &runcoptions.Options{IoUid: 65536, IoGid: 65537}},
		"default":    {defaultHandler(LiteRuntimeType), &runcoptions.Options{IoUid: 65536, IoGid: 65537}},
		"in another case": {
			Handler{Type: LiteRuntimeType, Options: map[string]any{"iouid": int64(1), "IOGID": int64(2), "Root": "/r"}},
			&runcoptions.Options{IoUid: 65536, IoGid: 65537, Root: "/r"},
		},
		"a shim per node": {
			Handler{Type: LiteRuntimeType, Options: map[string]any{"Sharing": "node"}},
			&runtimeoptions.Options{ConfigBody: []byte("IoGid = 65537\nIoUid = 65536\nSharing = 'node'\n")},
		},
		"another shim": {
			Handler{Type: "io.containerd.kata.v2", Options: map[string]any{"Debug": true}},
			&runtimeoptions.Options{ConfigBody: []byte("Debug = true\n")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.handler.WithIOOwner(65536, 65537).RuntimeOptions()
			if err != nil {
				t.Fatal(err)
			}
			if message, ok := got.(proto.Message); !ok || !proto.Equal(message, test.want) {
				t.Errorf("options %v, want %v", got, test.want)
			}
		})
	}
	if got, err := (Handler{Type: "io.containerd.kata.v2"}).WithIOOwner(1, 2).RuntimeOptions(); got != nil || err != nil {
		t.Errorf("another shim without options: %v, %v", got, err)
	}
}

func TestRuntimeOptionsUnknown(t *testing.T) {
	h := Handler{Type: LiteRuntimeType, Options: map[string]any{"SystemdCgroup": true, "SystemCgroup": true}}
	_, err := h.RuntimeOptions()
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), ": SystemCgroup: ") {
		t.Errorf("%v, want an invalid argument that names SystemCgroup", err)
	}
	if h.SystemdCgroup() {
		t.Error("a handler with bad options has a cgroup driver")
	}
}

func TestSystemdCgroup(t *testing.T) {
	options := map[string]any{"SystemdCgroup": true}
	for _, test := range []struct {
		handler Handler
		want    bool
	}{
		{Handler{Type: LiteRuntimeType, Options: options}, true},
		{Handler{Type: RuncRuntimeType, Options: options}, true},
		{Handler{Type: LiteRuntimeType, Options: map[string]any{"SystemdCgroup": true, "Sharing": "node"}}, true},
		{defaultHandler(LiteRuntimeType), false},
		{Handler{Type: LiteRuntimeType}, false},
		{Handler{Type: "io.containerd.kata.v2", Options: options}, false},
	} {
		if got := test.handler.SystemdCgroup(); got != test.want {
			t.Errorf("%s with %v: %v, want %v", test.handler.Type, test.handler.Options, got, test.want)
		}
	}
}

// TestComplete checks when lite inherits the settings of runc.
func TestComplete(t *testing.T) {
	systemd := func(runtimeType string) Handler {
		h := defaultHandler(runtimeType)
		h.Options["SystemdCgroup"] = true
		return h
	}
	for _, test := range []struct {
		name     string
		runtimes map[string]Handler
		want     bool
	}{
		{"nothing set", DefaultRuntime().Containerd.Runtimes, false},
		{"runc set", map[string]Handler{"lite": defaultHandler(LiteRuntimeType), "runc": systemd(RuncRuntimeType)}, true},
		{"both set", map[string]Handler{"lite": {Type: LiteRuntimeType}, "runc": systemd(RuncRuntimeType)}, false},
		{"no lite", map[string]Handler{"runc": systemd(RuncRuntimeType)}, false},
		{"runc is another shim", map[string]Handler{"lite": defaultHandler(LiteRuntimeType), "runc": systemd("x.v1")}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Runtime{Containerd: Containerd{Runtimes: test.runtimes}}
			if got := r.Complete(); got != test.want {
				t.Errorf("inherited %v, want %v", got, test.want)
			}
			lite := r.Containerd.Runtimes["lite"]
			if test.want && (!lite.SystemdCgroup() || lite.Type != LiteRuntimeType) {
				t.Errorf("lite is %+v, want runc's options behind the lite shim", lite)
			}
			for name, h := range r.Containerd.Runtimes {
				if h.Sandboxer != sandboxerPod || h.IOType != ioFIFO {
					t.Errorf("%s: sandboxer %q, io_type %q", name, h.Sandboxer, h.IOType)
				}
			}
		})
	}
}

func TestBaseSpecs(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.json"), filepath.Join(dir, "bad.json")
	for file, content := range map[string]string{
		good: `{"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]}}`,
		bad:  "{\n\"process\": {\n\"cwd\": 5}}",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := Runtime{Containerd: Containerd{Runtimes: map[string]Handler{
		"a": {BaseRuntimeSpec: good}, "b": {BaseRuntimeSpec: bad}, "c": {BaseRuntimeSpec: filepath.Join(dir, "none")}, "d": {},
	}}}
	specs, err := r.BaseSpecs()
	if len(specs) != 1 || specs["a"].Process.Rlimits[0].Soft != 1024 {
		t.Errorf("specs %v, want that of a", specs)
	}
	var keys []string
	for _, p := range Problems(err) {
		keys = append(keys, p.Key[2])
	}
	if diff := cmp.Diff([]string{"b", "c"}, keys); diff != "" {
		t.Errorf("handlers with problems: want -, got +:\n%s", diff)
	}
	if !strings.Contains(err.Error(), bad+":3: ") {
		t.Errorf("%v, want the file and the line", err)
	}
	if err := os.Truncate(good, maxBaseSpec+1); err != nil {
		t.Fatal(err)
	}
	if _, err := readSpec(good); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file over the limit: %v", err)
	}
}

func TestCgroupDriver(t *testing.T) {
	handler := func(runtimeType string, systemd bool) Handler {
		return Handler{Type: runtimeType, Options: map[string]any{"SystemdCgroup": systemd}}
	}
	on, off := handler(LiteRuntimeType, true), handler(RuncRuntimeType, false)
	kata := Handler{Type: "io.containerd.kata.v2"}
	for name, tc := range map[string]struct {
		handlers       map[string]Handler
		systemd, known bool
		others         []string
	}{
		"the default decides":             {map[string]Handler{"z": on, "a": off, "b": kata, "c": off}, true, true, []string{"a", "c"}},
		"all agree":                       {map[string]Handler{"z": on, "a": on, "b": kata}, true, true, nil},
		"the default's driver is unknown": {map[string]Handler{"z": kata, "a": on, "b": off}, true, true, []string{"b"}},
		"all are unknown":                 {map[string]Handler{"z": kata}, false, false, nil},
		"no option means that of runc":    {map[string]Handler{"z": {Type: LiteRuntimeType}, "a": off}, false, true, nil},
		"the default is not configured":   {map[string]Handler{"a": on}, true, true, nil},
	} {
		r := Runtime{Containerd: Containerd{DefaultRuntimeName: "z", Runtimes: tc.handlers}}
		systemd, known, others := r.CgroupDriver()
		if systemd != tc.systemd || known != tc.known || !slices.Equal(others, tc.others) {
			t.Errorf("%s: %v, %v, %v, want %v, %v, %v", name, systemd, known, others, tc.systemd, tc.known, tc.others)
		}
	}
}
