// SPDX-License-Identifier: Apache-2.0

package option

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

// maxFile bounds the size of the file that ConfigPath names, in bytes.
const maxFile = 1 << 20

// Options are the options of the OCI runtime and of the shim itself.
type Options struct {
	*options.Options
	shimoption.Own
	// AnyDriver is true if the options do not set the cgroup driver: ChooseDriver may then set it.
	AnyDriver bool
}

// ChooseDriver selects the systemd cgroup driver for a cgroupsPath that names a systemd scope, if
// the host runs systemd and the options do not set the driver. Docker and nerdctl send options only
// to runc's shim.
func (o Options) ChooseDriver(cgroupsPath string, systemd bool) {
	if o.AnyDriver && systemd && cgroup.Scope(cgroupsPath) {
		o.SystemdCgroup = true
	}
}

// Key returns a string that is equal for equal options.
func (o Options) Key() (string, error) {
	runtime, err := proto.MarshalOptions{Deterministic: true}.Marshal(o.Options)
	if err != nil {
		return "", fmt.Errorf("runtime options: encode: %w", err)
	}
	return fmt.Sprintf("%v\x00%s", o.Own, runtime), nil
}

// Default returns the options of a task that has none.
func Default() Options {
	return Options{Options: &options.Options{}, Own: shimoption.Default(), AnyDriver: true}
}

// Parse returns the options in msg, or the defaults if msg is empty. Anything it cannot decode is
// errdefs.ErrInvalidArgument, and the error names it: with a silently ignored option a container
// would not run as its owner expects.
func Parse(msg *anypb.Any) (Options, error) {
	if len(msg.GetValue()) == 0 {
		return Default(), nil
	}
	var (
		runc    options.Options
		generic runtimeoptions.Options
	)
	switch {
	case msg.MessageIs(&runc):
		if err := msg.UnmarshalTo(&runc); err != nil {
			return Options{}, invalid(err)
		}
		return Options{Options: &runc, Own: shimoption.Default()}, nil
	case msg.MessageIs(&generic):
		if err := msg.UnmarshalTo(&generic); err != nil {
			return Options{}, invalid(err)
		}
		return parseGeneric(&generic)
	default:
		return Options{}, fmt.Errorf("runtime options: type %q, want %s or %s: %w", msg.GetTypeUrl(),
			runc.ProtoReflect().Descriptor().FullName(), generic.ProtoReflect().Descriptor().FullName(),
			errdefs.ErrInvalidArgument)
	}
}

func parseGeneric(generic *runtimeoptions.Options) (Options, error) {
	body := generic.GetConfigBody()
	if path := generic.GetConfigPath(); path != "" {
		var err error
		if body, err = readFile(path); err != nil {
			return Options{}, invalid(err)
		}
	}
	return parseTable(body)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return data, err
}

// table is the options table of a handler, with the keys of containerd-shim-runc-v2. The keys of
// the last group are accepted without effect, because existing configuration files have them.
type table struct {
	BinaryName    string
	Root          string
	SystemdCgroup *bool
	NoPivotRoot   bool
	NoNewKeyring  bool
	ShimCgroup    string
	IoUid         uint32
	IoGid         uint32
	CriuImagePath string
	CriuWorkPath  string
	shimoption.Own

	CriuPath   string
	TypeUrl    string
	ConfigPath string
}

func parseTable(body []byte) (Options, error) {
	t := table{Own: shimoption.Default()}
	err := shimoption.Decode(body, &t)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		return Options{}, invalid(fmt.Errorf("unknown key %q", dotted(unknown.Errors[0].Key())))
	}
	if err != nil {
		return Options{}, invalid(err)
	}
	return Options{Own: t.Own, AnyDriver: t.SystemdCgroup == nil, Options: &options.Options{
		BinaryName:    t.BinaryName,
		Root:          t.Root,
		SystemdCgroup: t.SystemdCgroup != nil && *t.SystemdCgroup,
		NoPivotRoot:   t.NoPivotRoot,
		NoNewKeyring:  t.NoNewKeyring,
		ShimCgroup:    t.ShimCgroup,
		IoUid:         t.IoUid,
		IoGid:         t.IoGid,
		CriuImagePath: t.CriuImagePath,
		CriuWorkPath:  t.CriuWorkPath,
	}}, nil
}

func dotted(key toml.Key) string {
	var b bytes.Buffer
	for i, part := range key {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

func invalid(err error) error {
	if errdefs.IsInvalidArgument(err) {
		return fmt.Errorf("runtime options: %w", err)
	}
	return fmt.Errorf("runtime options: %w: %w", errdefs.ErrInvalidArgument, err)
}
