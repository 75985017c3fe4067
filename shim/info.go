// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/option"
)

const (
	// maxOptions bounds the runtime options on standard input, in bytes.
	maxOptions = 10 << 20

	// featuresType is the type name by which containerd recognizes the JSON of features.Features
	// (core/runtime/v2/runtime.go).
	featuresType = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
)

// info writes the features of the shim and its OCI runtime. containerd runs it once per handler and
// offers features such as user namespaces only if the answer has them.
func info(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	input, err := io.ReadAll(io.LimitReader(stdin, maxOptions+1))
	if err != nil {
		return fmt.Errorf("read runtime options: %w", err)
	}
	given := &anypb.Any{}
	if len(input) > maxOptions || proto.Unmarshal(input, given) != nil {
		return fmt.Errorf("read runtime options: %w", errdefs.ErrInvalidArgument)
	}
	opts, err := option.Parse(given)
	if err != nil {
		return err
	}
	runtime := oci.New(opts.Options, "", "", func() func() { return func() {} })
	if err := runtime.Available(); err != nil {
		return err
	}
	version, revision, _ := build()
	answer := &types.RuntimeInfo{
		Name:    Runtime,
		Version: &types.RuntimeVersion{Version: version, Revision: revision},
	}
	if len(input) > 0 {
		answer.Options = given
	}
	// Without an answer from the runtime containerd assumes that it has no optional features.
	if features, err := runtime.Features(ctx); err == nil {
		value, err := json.Marshal(features)
		if err != nil {
			return fmt.Errorf("encode features: %w", err)
		}
		answer.Features = &anypb.Any{TypeUrl: featuresType, Value: value}
	}
	data, err := proto.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode runtime info: %w", err)
	}
	_, err = stdout.Write(data)
	return err
}
