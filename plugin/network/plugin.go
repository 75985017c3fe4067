// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/containerd-lite/containerd-lite/plugin/activity"
)

const (
	maxPluginOutput = 1 << 20 // bytes
	maxErrorText    = 4 << 10 // bytes
)

// pluginExec runs CNI plugins for libcni. When the context ends, it kills all processes of a
// plugin, such as its IPAM plugin, and does not wait for them; libcni's own kills only the plugin.
type pluginExec struct {
	version.PluginDecoder
}

var _ invoke.Exec = (*pluginExec)(nil)

// FindInPath returns the path of a plugin. It refuses a type that contains a path (CVE-2021-20206).
func (*pluginExec) FindInPath(plugin string, dirs []string) (string, error) {
	if plugin == "" || filepath.Base(plugin) != plugin || plugin == ".." || plugin == "." {
		return "", fmt.Errorf("CNI plugin type %q is not a file name: %w", plugin, errdefs.ErrFailedPrecondition)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, plugin)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("CNI plugin %q is not in %s (install it, or set cni.bin_dirs): %w",
		plugin, strings.Join(dirs, ", "), errdefs.ErrFailedPrecondition)
}

// ExecPlugin runs a plugin and returns its standard output.
func (*pluginExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	defer activity.Begin(ctx, activity.Wait{For: activity.CNI, Operation: command(environ), Object: filepath.Base(path)}, nil)()
	var stdout, stderr limitedBuffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = environ
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pluginWaitDelay
	err := cmd.Run()
	switch {
	case err != nil && ctx.Err() != nil:
		// err would only be "signal: killed".
		return nil, fmt.Errorf("%s: %w", path, ctx.Err())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, pluginError(err, stdout.kept, stderr.kept)
	case stdout.exceeded:
		return nil, fmt.Errorf("%s: output of more than %d bytes: %w", path, maxPluginOutput, errdefs.ErrResourceExhausted)
	}
	if len(stderr.kept) > 0 {
		log.G(ctx).WithField("plugin", path).Debugf("CNI plugin: %s", stderr.kept)
	}
	if command(environ) == "ADD" {
		if err := checkAnswer(stdout.kept); err != nil {
			return nil, fmt.Errorf("%s: result: %w", path, err)
		}
	}
	return stdout.kept, nil
}

// command returns the command of CNI in the environment of a plugin: ADD, DEL, CHECK, STATUS.
func command(environ []string) string {
	const key = "CNI_COMMAND="
	for _, variable := range environ {
		if value, found := strings.CutPrefix(variable, key); found {
			return value
		}
	}
	return ""
}

// pluginError returns the error that a plugin printed as JSON, as the CNI specification requires,
// or else its standard error.
func pluginError(err error, stdout, stderr []byte) error {
	var printed types.Error
	if json.Unmarshal(stdout, &printed) == nil && printed.Msg != "" {
		printed.Msg, printed.Details = clip(printed.Msg), clip(printed.Details)
		return &printed
	}
	text := clip(string(bytes.TrimSpace(append(stderr, stdout...))))
	if text == "" {
		return fmt.Errorf("no error message: %w", err)
	}
	return fmt.Errorf("%q: %w", text, err)
}

// clip bounds the text of a plugin's error, which reaches logs and events, to maxErrorText bytes.
func clip(text string) string {
	if len(text) <= maxErrorText {
		return text
	}
	return text[:maxErrorText] + "…"
}

// limitedBuffer keeps the first maxPluginOutput bytes and discards the rest. It has no method
// ReadFrom, which io.Copy would use instead of Write.
type limitedBuffer struct {
	kept     []byte
	exceeded bool
}

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	keep := p
	if room := maxPluginOutput - len(b.kept); len(keep) > room {
		keep = keep[:room]
		b.exceeded = true
	}
	b.kept = append(b.kept, keep...)
	return len(p), nil
}
