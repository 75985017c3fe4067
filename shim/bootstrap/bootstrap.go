// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"io"
	"path/filepath"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/option"
)

const (
	// apiVersion is the version of the Task API in the answer.
	apiVersion = 3
	protocol   = "ttrpc"

	// maxInput bounds standard input, in bytes.
	maxInput = 10 << 20

	defaultSocketDir = "/run/containerd/s"
)

// Params are the parameters of a start, from any version of containerd.
type Params struct {
	SocketDir string
	// Events is the address to which events are sent, or "" if it is only in the environment.
	Events  string
	Debug   bool
	Options option.Options
	// Legacy is true for a containerd before 2.3, which expects the bare address.
	Legacy bool
}

// Read reads the parameters of the start of task id in a namespace. The error of wrong parameters
// is errdefs.ErrInvalidArgument.
func Read(r io.Reader, id, namespace string) (*Params, error) {
	input, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("bootstrap: read parameters: %w", err)
	}
	if len(input) > maxInput {
		return nil, fmt.Errorf("bootstrap: parameters larger than %d bytes: %w", maxInput, errdefs.ErrInvalidArgument)
	}
	return parse(input, id, namespace)
}

// parse accepts BootstrapParams only if they have the id and namespace of the command line. Runtime
// options alone can be valid BootstrapParams, but cannot name the task.
func parse(input []byte, id, namespace string) (*Params, error) {
	p := &bootapi.BootstrapParams{}
	if proto.Unmarshal(input, p) != nil || p.GetInstanceID() != id || p.GetNamespace() != namespace {
		return parseLegacy(input)
	}
	params := &Params{
		SocketDir: defaultSocketDir,
		Events:    p.GetContainerdTtrpcAddress(),
		Options:   option.Default(),
		Debug:     p.GetLogLevel() <= bootapi.LogLevel_LOG_LEVEL_DEBUG,
	}
	if dir := p.GetSocketDir(); dir != "" {
		if !filepath.IsAbs(dir) {
			return nil, fmt.Errorf("bootstrap: socket directory %q, want an absolute path: %w", dir, errdefs.ErrInvalidArgument)
		}
		params.SocketDir = dir
	}
	for _, ext := range p.GetExtensions() {
		params.apply(ext.GetValue())
	}
	return params, nil
}

func parseLegacy(input []byte) (*Params, error) {
	params := &Params{SocketDir: defaultSocketDir, Options: option.Default(), Legacy: true}
	if len(input) == 0 {
		return params, nil
	}
	msg := &anypb.Any{}
	if err := proto.Unmarshal(input, msg); err != nil {
		return nil, fmt.Errorf("bootstrap: neither parameters for this task nor runtime options: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	params.apply(msg)
	return params, nil
}

// apply uses an extension if it has valid runtime options. Other extensions are ignored, and
// invalid options are reported by Create, whose errors have a class.
func (p *Params) apply(msg *anypb.Any) {
	if opts, err := option.Parse(msg); err == nil && len(msg.GetValue()) > 0 {
		p.Options = opts
	}
}

// Answer encodes the address of the shim for standard output.
func (p *Params) Answer(address string) ([]byte, error) {
	if p.Legacy {
		return []byte(address), nil
	}
	result := &bootapi.BootstrapResult{Version: apiVersion, Address: address, Protocol: protocol}
	// The empty extension means that the shim transforms no mounts. Without the extension
	// containerd would run the shim once more per runtime to ask.
	if err := result.AddExtension(&types.MountCapabilities{}); err != nil {
		return nil, fmt.Errorf("bootstrap: encode answer: %w", err)
	}
	data, err := proto.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: encode answer: %w", err)
	}
	return data, nil
}
