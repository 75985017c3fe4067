// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Run boots a guest that runs a command, writes the command's output to output and returns its exit
// code. Afterwards the logs that the command saved in .tools/logs are in the checkout of the host.
// An error is about the guest and includes the last lines of the console.
func (i Image) Run(ctx context.Context, c Command, output io.Writer) (int, error) {
	return machine{image: i}.boot(ctx, c, output)
}

// Shell boots a guest with a shell on the terminal of this process. The guest ends with the shell.
func (i Image) Shell(ctx context.Context, c Command) error {
	_, err := machine{image: i, terminal: true}.boot(ctx, c, nil)
	return err
}

// boot runs a guest in a temporary directory.
func (m machine) boot(ctx context.Context, c Command, output io.Writer) (code int, err error) {
	m.run, err = os.MkdirTemp(string(m.image), "run-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(m.run)) }()
	if m.payload, err = makePayload(ctx, c, m.run); err != nil {
		return 0, err
	}
	if m.accel, err = accelerator(ctx); err != nil {
		return 0, err
	}
	guest := exec.CommandContext(ctx, qemu, m.args()...)
	// The guest must not outlive a killed caller.
	guest.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	if m.terminal {
		guest.Stdin, guest.Stdout, guest.Stderr = os.Stdin, os.Stdout, os.Stderr
	} else {
		guest.Stdout = struct{ io.Writer }{output} // forces a pipe: qemu opens it a second time
		guest.Stderr = &stderr
	}
	err = guest.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, m.fail(err, stderr.String())
	}
	return m.collect(c)
}

// collect returns the exit code of the program of a guest that powered off, and unpacks its logs in
// the checkout.
func (m machine) collect(c Command) (int, error) {
	logs := filepath.Join(m.run, logsFile)
	if info, err := os.Stat(logs); err == nil && info.Size() > 0 {
		if _, err := output(context.Background(), "tar", "-C", filepath.Join(c.Checkout, ".tools"), "--no-same-owner", "-xf", logs); err != nil {
			return 0, err
		}
	}
	text, err := os.ReadFile(filepath.Join(m.run, resultFile))
	if err != nil {
		return 0, err
	}
	code, err := parseResult(string(text))
	if err != nil {
		return 0, m.fail(err, "")
	}
	return code, nil
}

// consoleTail is the number of console lines in an error. A kernel panic prints the reason first,
// then the registers and every function on its stack.
const consoleTail = 80

// fail adds the end of the guest's console to an error.
func (m machine) fail(err error, stderr string) error {
	console, readErr := os.ReadFile(filepath.Join(m.run, consoleFile))
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		err = errors.Join(err, readErr)
	}
	return fmt.Errorf("guest (%s): %w\n%s", m.accel, err, lastLines(stderr+string(console), consoleTail))
}
