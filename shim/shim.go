// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

// Runtime is the runtime type by which containerd finds the executable.
const Runtime = "io.containerd.lite.v2"

// request is the command line, as containerd builds it (core/runtime/v2/command.go) or as launch
// builds it for serve.
type request struct {
	namespace string
	id        string
	address   string // address of containerd
	bundle    string
	socket    string // path of the shim's socket, for serve
	pods      int    // limit of pods in the shim, for serve
	debug     bool
	info      bool
	version   bool
	command   string
}

func parseArgs(args []string, output io.Writer) (*request, error) {
	r := &request{}
	set := r.flags(filepath.Base(args[0]))
	set.SetOutput(output)
	if err := set.Parse(args[1:]); err != nil {
		return nil, err
	}
	r.command = set.Arg(0)
	return r, nil
}

// Flags returns the flags of the executable, for its man page.
func Flags() *flag.FlagSet { return (&request{}).flags("containerd-shim-lite-v2") }

func (r *request) flags(program string) *flag.FlagSet {
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.StringVar(&r.namespace, "namespace", "", "namespace of the task")
	set.StringVar(&r.id, "id", "", "id of the task")
	set.StringVar(&r.address, "address", "", "address of containerd")
	set.StringVar(&r.bundle, "bundle", "", "bundle directory, if it is not the working directory")
	set.StringVar(&r.socket, "socket", "", "path of the socket to serve; its file descriptor is 3")
	set.IntVar(&r.pods, "pods", int(shimoption.Pod), "number of pods that may share the shim")
	set.BoolVar(&r.debug, "debug", false, "log debug messages")
	set.BoolVar(&r.info, "info", false, "read runtime options from standard input and write runtime info, both protobuf")
	set.BoolVar(&r.version, "v", false, "print the version")
	set.BoolVar(&r.version, "version", false, "print the version")
	set.String("publish-binary", "", "ignored: events go to TTRPC_ADDRESS")
	return set
}

// Main runs the executable and returns its exit code. Only the answer is written to stdout. The
// start command writes to stderr only if it fails, because containerd reads stdout and stderr as
// one.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	r, err := parseArgs(args, stderr)
	if err != nil {
		return 2
	}
	if err := r.run(ctx, stdin, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", Runtime, err)
		return 1
	}
	return 0
}

func (r *request) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	switch {
	case r.version:
		return printVersion(stdout)
	case r.info:
		return info(ctx, stdin, stdout)
	case r.namespace == "" || r.id == "":
		return fmt.Errorf("-namespace and -id are required: this program is run by containerd")
	}
	if r.bundle == "" {
		dir, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
		r.bundle = dir
	}
	switch r.command {
	case "start":
		return r.start(ctx, stdin, stdout)
	case "delete":
		return r.delete(ctx, stdout, stderr)
	case "":
		return r.serve(ctx)
	default:
		return fmt.Errorf("command %q, want start or delete", r.command)
	}
}

func printVersion(w io.Writer) error {
	version, revision, goVersion := build()
	_, err := fmt.Fprintf(w, "containerd-shim-lite-v2:\n  Version:  %s\n  Revision: %s\n  Go version: %s\n\n", version, revision, goVersion)
	return err
}

// build returns the versions that the go command recorded in the executable.
func build() (version, revision, goVersion string) {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown", "unknown"
	}
	revision = "unknown"
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return b.Main.Version, revision, b.GoVersion
}
