// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxBaseSpec is the limit for a base_runtime_spec file, in bytes. A spec with every device, mount
// and syscall rule is far smaller.
const maxBaseSpec = 4 << 20

// BaseSpecs reads the base_runtime_spec file of each handler that has one, and returns the specs by
// handler. Callers must copy a spec before they change it. Like Validate, it returns all problems
// at once.
func (r Runtime) BaseSpecs() (map[string]*specs.Spec, error) {
	loaded := map[string]*specs.Spec{}
	var problems []error
	for _, name := range r.HandlerNames() {
		file := r.Containerd.Runtimes[name].BaseRuntimeSpec
		if file == "" {
			continue
		}
		spec, err := readSpec(file)
		if err != nil {
			problems = append(problems, Problem{
				Table: RuntimeTable,
				Key:   []string{"containerd", "runtimes", name, "base_runtime_spec"},
				What:  err.Error(),
				Hint:  "write an OCI spec there, for example with `ctr oci spec`, or remove the key",
			})
			continue
		}
		loaded[name] = spec
	}
	return loaded, errors.Join(problems...)
}

func readSpec(file string) (*specs.Spec, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBaseSpec+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBaseSpec {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxBaseSpec)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, jsonLine(data, err), err)
	}
	return &spec, nil
}

// jsonLine returns the line of a JSON error. An error without an offset gets the last line.
func jsonLine(data []byte, err error) int {
	offset := int64(len(data))
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &mismatch):
		offset = mismatch.Offset
	}
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}
