// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/continuity"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
)

// statusFile is the content of a status file.
type statusFile struct {
	Version string
	containerStatus
	// Lite is true in a file that containerd-lite wrote. The built-in CRI drops it when it writes
	// the file. So without it, the built-in CRI has changed the container since.
	Lite bool `json:",omitempty"`
}

func readStatus(path string) (statusFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return statusFile{}, err
	}
	var s statusFile
	if err := json.Unmarshal(data, &s); err != nil {
		return statusFile{}, fmt.Errorf("decode %s: %w", path, err)
	}
	return s, checkVersion("status", s.Version)
}

// writeStatus writes the state of a container into its status file. The file of a container of ours
// is not synchronized with the disk: only its record must survive a crash of the host, which ends
// the container.
func writeStatus(path string, r *container.Record) error {
	data, err := json.Marshal(statusFile{Version: version, Lite: true, containerStatus: containerStatus{
		Pid:        r.PID,
		CreatedAt:  r.Times.Created,
		StartedAt:  r.Times.Started,
		FinishedAt: r.Times.Finished,
		ExitCode:   r.Exit.Code,
		Reason:     r.Exit.Reason,
		Message:    r.Exit.Message,
		Resources:  &runtimeapi.ContainerResources{Linux: r.Resources},
	}})
	if err != nil {
		return fmt.Errorf("encode status for the built-in CRI: %w", err)
	}
	write := replaceFile
	if r.Runtime.BuiltIn {
		write = continuity.AtomicWriteFile
	}
	err = write(path, data, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		// Without the directory, no exit could be recorded, and the container not be removed.
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = write(path, data, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("write status for the built-in CRI: %w", err)
	}
	return nil
}

// replaceFile replaces a file at once, but does not wait for the disk.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	temporary := filepath.Join(filepath.Dir(path), ".tmp-"+filepath.Base(path))
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
