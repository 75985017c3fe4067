// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FuzzContainer uses two random messages as pod and container, and checks the invariants of every
// spec.
func FuzzContainer(f *testing.F) {
	for seed := range uint64(64) {
		r := rand.New(rand.NewPCG(seed, 1))
		pod, config := &runtimeapi.PodSandboxConfig{}, &runtimeapi.ContainerConfig{}
		fill(r, pod.ProtoReflect(), 4)
		fill(r, config.ProtoReflect(), 4)
		f.Add(wire(f, pod), wire(f, config), seed%2 == 0)
	}
	plain := fixture()
	f.Add(wire(f, plain.Pod.Config), wire(f, plain.Config), true)
	f.Fuzz(func(t *testing.T, podBytes, configBytes []byte, resolved bool) {
		in := fixture()
		in.Pod.Config, in.Config = &runtimeapi.PodSandboxConfig{}, &runtimeapi.ContainerConfig{}
		if proto.Unmarshal(podBytes, in.Pod.Config) != nil || proto.Unmarshal(configBytes, in.Config) != nil {
			return
		}
		in.Handler.PodAnnotations = []string{"allowed.*"}
		if resolved {
			resolve(&in)
		}
		checkAlways(t, in)
	})
}

// TestRandomConfigs checks the same invariants with configurations that are mostly valid, so that
// more of them result in a spec.
func TestRandomConfigs(t *testing.T) {
	made := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		in := fixture()
		linux := &runtimeapi.LinuxContainerConfig{}
		fill(r, linux.ProtoReflect(), 3)
		in.Config.Linux = linux
		if r.IntN(2) == 0 {
			in.Pod.Config.Linux.SecurityContext.Privileged = true
		}
		if checkAlways(t, in) {
			made++
		}
	}
	if made < 20 {
		t.Errorf("%d of 2000 configurations resulted in a spec, want at least 20", made)
	}
}

// checkAlways checks the invariants of Container and reports whether it returned a spec.
func checkAlways(t *testing.T, in Input) bool {
	t.Helper()
	pod, config := proto.Clone(in.Pod.Config), proto.Clone(in.Config)
	s, err := Container(in)
	if !proto.Equal(pod, in.Pod.Config) || !proto.Equal(config, in.Config) {
		t.Fatal("Container changed its input")
	}
	if err != nil {
		if s != nil || !errdefs.IsInvalidArgument(err) && !errdefs.IsFailedPrecondition(err) && !errdefs.IsInternal(err) {
			t.Fatalf("spec %v, error %v of no known class", s, err)
		}
		return false
	}
	again, err := Container(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Fatalf("equal input, different specs:\n%s", diff)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Fatal(err)
	}
	checkSecurity(t, in, s)
	checkMountsAlways(t, in, s)
	return true
}

func checkSecurity(t *testing.T, in Input, s *specs.Spec) {
	t.Helper()
	sc := in.Config.GetLinux().GetSecurityContext()
	wanted := len(sc.GetCapabilities().GetAddAmbientCapabilities())
	if c := s.Process.Capabilities; len(c.Inheritable) > wanted || len(c.Ambient) > wanted {
		t.Errorf("inheritable %v and ambient %v capabilities, %d requested", c.Inheritable, c.Ambient, wanted)
	}
	userns := hasNamespace(s, specs.UserNamespace)
	if !sc.GetPrivileged() && !userns && (len(s.Linux.MaskedPaths) == 0 || len(s.Linux.ReadonlyPaths) == 0) {
		t.Error("no masked or no read-only paths")
	}
	if !sc.GetPrivileged() && slices.ContainsFunc(s.Linux.Resources.Devices, func(d specs.LinuxDeviceCgroup) bool { return d.Allow && d.Major == nil }) {
		t.Error("all devices are allowed")
	}
	if !slices.Contains(s.Process.User.AdditionalGids, s.Process.User.GID) {
		t.Error("the primary group is not among the additional ones")
	}
	for key := range s.Annotations {
		if !strings.HasPrefix(key, "io.kubernetes.cri.") && !strings.HasPrefix(key, "allowed.") {
			t.Errorf("annotation %q passed", key)
		}
	}
	for _, v := range s.Process.Env {
		if strings.ContainsRune(v, 0) || strings.HasPrefix(v, "=") {
			t.Errorf("variable %q", v)
		}
	}
	if inProcess(s.Process.Cwd) || !path.IsAbs(s.Process.Cwd) {
		t.Errorf("cwd %q", s.Process.Cwd)
	}
	if !strings.HasSuffix(s.Linux.CgroupsPath, in.ID) || strings.Contains(s.Linux.CgroupsPath, "..") {
		t.Errorf("cgroupsPath %q", s.Linux.CgroupsPath)
	}
}

// checkMountsAlways checks that the sources of bind mounts come from the input, and that no parent
// is mounted over its child.
func checkMountsAlways(t *testing.T, in Input, s *specs.Spec) {
	t.Helper()
	sources := []string{in.Pod.Files.Hostname, in.Pod.Files.Hosts, in.Pod.Files.ResolvConf, in.Pod.Files.Shm, "/sys"}
	for _, m := range in.Mounts {
		sources = append(sources, m.Path)
	}
	last := 0
	for _, m := range s.Mounts {
		if m.Destination != path.Clean(m.Destination) || m.Destination == "/" || !path.IsAbs(m.Destination) {
			t.Errorf("mount at %q", m.Destination)
		}
		if m.Type != "bind" {
			continue
		}
		if !slices.Contains(sources, m.Source) {
			t.Errorf("mount of %q", m.Source)
		}
		if d := depth(m.Destination); m.Source != "/sys" && d < last {
			t.Errorf("mount at %q after a deeper one", m.Destination)
		} else if m.Source != "/sys" {
			last = d
		}
	}
}

// Containers that are created concurrently from one image and one base spec share no memory
// (CVE-2021-21334). The race detector also reports a violation.
func TestConcurrentContainers(t *testing.T) {
	shared := fixture()
	shared.Image.Config.Env = append(make([]string, 0, 100), "A=1")
	shared.Image.Config.Entrypoint = append(make([]string, 0, 100), "/bin/web")
	shared.Image.Config.Cmd = nil
	shared.Handler.BaseSpec = &specs.Spec{Process: &specs.Process{Env: append(make([]string, 0, 100), "B=1")}}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			secret := strings.Repeat("x", i+1)
			in := shared
			in.Config = &runtimeapi.ContainerConfig{
				Metadata: &runtimeapi.ContainerMetadata{Name: "web"},
				Args:     []string{secret},
				Envs:     []*runtimeapi.KeyValue{{Key: "SECRET", Value: []byte(secret)}},
			}
			s, err := Container(in)
			if err != nil {
				t.Error(err)
				return
			}
			if got := s.Process.Env[len(s.Process.Env)-1]; got != "SECRET="+secret {
				t.Errorf("container %d has %q", i, got)
			}
			if got := s.Process.Args; len(got) != 2 || got[1] != secret {
				t.Errorf("container %d has arguments %q", i, got)
			}
		})
	}
	wg.Wait()
}

// FuzzEnvironment checks that each name appears once, at its first position and with its last
// value.
func FuzzEnvironment(f *testing.F) {
	f.Add("A=1 B=2 A=3", "A", "4")
	f.Add("PATH=", "", "")
	f.Add("=x", "HOSTNAME", "a\nb")
	f.Fuzz(func(t *testing.T, image, key, value string) {
		in := fixture()
		in.Image.Config.Env = strings.Split(image, " ")
		in.Config.Envs = []*runtimeapi.KeyValue{{Key: key, Value: []byte(value)}}
		s, err := Container(in)
		if err != nil {
			return
		}
		seen := make(map[string]string)
		for _, v := range s.Process.Env {
			name, val, ok := strings.Cut(v, "=")
			if _, twice := seen[name]; !ok || twice {
				t.Fatalf("environment %q", s.Process.Env)
			}
			seen[name] = val
		}
		if seen[key] != value {
			t.Errorf("%s is %q, want %q", key, seen[key], value)
		}
	})
}

func FuzzAnnotations(f *testing.F) {
	f.Add("io.kubernetes.cri.sandbox-id", "evil", "*")
	f.Add("org.systemd.property.ExecStartPre", "'/bin/sh'", "org.*")
	f.Add("a", "b", "[")
	f.Fuzz(func(t *testing.T, key, value, glob string) {
		in := fixture()
		in.Config.Annotations = map[string]string{key: value}
		in.Image.Config.Labels = map[string]string{key: value}
		without, err := Container(in)
		if err != nil {
			t.Fatal(err)
		}
		plain := fixture()
		want, err := Container(plain)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, without); diff != "" {
			t.Errorf("an annotation that no glob allows changed the spec:\n%s", diff)
		}
		in.Handler.ContainerAnnotations = []string{glob}
		with, err := Container(in)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range want.Annotations {
			if with.Annotations[k] != v {
				t.Errorf("annotation %s is %q, want %q", k, with.Annotations[k], v)
			}
		}
	})
}

func wire(f *testing.F, m proto.Message) []byte {
	f.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// fill sets random fields of m, down to a depth. Most strings are valid for some field.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if r.IntN(3) > 0 || f.Message() != nil && depth == 0 {
			continue
		}
		switch {
		case f.IsMap():
			v := m.NewField(f)
			v.Map().Set(text(r).MapKey(), text(r))
			m.Set(f, v)
		case f.IsList():
			v := m.NewField(f)
			for range r.IntN(3) {
				v.List().Append(element(r, v.List().NewElement(), f, depth))
			}
			m.Set(f, v)
		default:
			m.Set(f, element(r, m.NewField(f), f, depth))
		}
	}
}

func element(r *rand.Rand, zero protoreflect.Value, f protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	numbers := []int64{0, 1, 2, 3, 1000, -1, -2, 1 << 40}
	n := numbers[r.IntN(len(numbers))]
	switch f.Kind() {
	case protoreflect.MessageKind:
		fill(r, zero.Message(), depth-1)
		return zero
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(5)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.StringKind:
		return text(r)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text(r).String()))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	default:
		return protoreflect.ValueOfInt64(n)
	}
}

func text(r *rand.Rand) protoreflect.Value {
	words := []string{"", "a", "/a", "/a/b/../c", "ALL", "NET_ADMIN", "rw", "0-1", "2MB", "memory.high", "runtime/default", "a\nb", "/dev", "allowed.x"}
	return protoreflect.ValueOfString(words[r.IntN(len(words))])
}
