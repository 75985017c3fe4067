// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Directories of the payload's disk in the guest.
const (
	mountPoint  = "/payload"
	programDir  = mountPoint + "/program"
	checkoutDir = mountPoint + "/checkout"
)

// Command is the program that a guest runs. The guest gets a copy of the checkout.
type Command struct {
	Checkout string   // with the output of `make build` and `make tools`
	Dir      string   // working directory, in the checkout
	Args     []string // a path is a program of the host, a name one of the guest
	Env      []string // in addition to the guest's own
}

//go:embed init.sh
var initScript []byte

// makePayload makes the disk of a command, in the directory of the run.
func makePayload(ctx context.Context, c Command, run string) (disk string, err error) {
	content := filepath.Join(run, "payload")
	defer func() { err = errors.Join(err, os.RemoveAll(content)) }()
	if err := linkCheckout(c.Checkout, content+strings.TrimPrefix(checkoutDir, mountPoint)); err != nil {
		return "", fmt.Errorf("payload: %w", err)
	}
	if program := c.Args[0]; strings.Contains(program, "/") {
		inside := filepath.Join(programDir, filepath.Base(program))
		if err := copyFile(program, content+strings.TrimPrefix(inside, mountPoint)); err != nil {
			return "", fmt.Errorf("payload: %w", err)
		}
		c.Args = append([]string{inside}, c.Args[1:]...)
	}
	start, err := startScript(c)
	if err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{"init": initScript, "start": []byte(start)} {
		if err := os.WriteFile(filepath.Join(content, name), text, 0o755); err != nil {
			return "", err
		}
	}
	disk = filepath.Join(run, "payload.img")
	// It is used for one run only: no journal.
	return disk, makeDisk(ctx, disk, content, "payload", "-O", "^has_journal")
}

// startScript returns a shell script that execs the command.
func startScript(c Command) (string, error) {
	dir, err := filepath.Rel(c.Checkout, c.Dir)
	if err != nil || !filepath.IsLocal(dir) {
		return "", errors.Join(err, fmt.Errorf("%s is outside the checkout %s: %w", c.Dir, c.Checkout, fs.ErrInvalid))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "#!/bin/sh\ncd %s || exit\n", quote(filepath.Join(checkoutDir, dir)))
	for _, variable := range c.Env {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&text, "export %s=%s\n", name, quote(value))
	}
	text.WriteString("exec")
	for _, arg := range c.Args {
		text.WriteString(" " + quote(arg))
	}
	return text.String() + "\n", nil
}

// quote quotes a text as one shell word.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// tools are the directories of .tools that suites use.
var tools = []string{"bin", "cni", "debian", "images", "packages"}

// linkCheckout creates a tree with the files of a checkout, what was built in it, and its tools.
func linkCheckout(checkout, target string) error {
	entries, err := os.ReadDir(checkout)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			if err := link(filepath.Join(checkout, entry.Name()), filepath.Join(target, entry.Name())); err != nil {
				return err
			}
		}
	}
	for _, name := range tools {
		err := link(filepath.Join(checkout, ".tools", name), filepath.Join(target, ".tools", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a suite reports what it misses
			return err
		}
	}
	return nil
}

// link creates a tree of hard links to another tree, so that no file is copied before the disk is
// made. source itself may be a symbolic link; symbolic links in it are kept.
func link(source, target string) error {
	source, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside := filepath.Join(target, strings.TrimPrefix(path, source))
		if entry.IsDir() {
			return os.MkdirAll(inside, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
			return err
		}
		return os.Link(path, inside)
	})
}

func copyFile(source, target string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, text, 0o755)
}
