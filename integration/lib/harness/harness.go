// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd-lite/containerd-lite/integration/lib/meter"
)

// hangTimeout bounds every wait for an event that must happen. It is no performance goal: it only
// turns a hang into an error.
const hangTimeout = 10 * time.Minute

// Daemons that a bench can run.
const (
	Lite  = "lite"  // containerd-lite of bin/
	Stock = "stock" // containerd v2.4.2, the control
	Crio  = "crio"  // CRI-O v1.36.3 with conmon, a peer for the bench
)

// Handlers that every bench configures.
const (
	HandlerLite = "lite" // io.containerd.lite.v2 of bin/
	HandlerRunc = "runc" // io.containerd.runc.v2
)

// Cgroup drivers: the component that creates the cgroups.
const (
	Cgroupfs = "cgroupfs" // the OCI runtime
	Systemd  = "systemd"
)

// Options choose the programs that a bench runs. The zero value is containerd-lite with the lite
// shim and runc.
type Options struct {
	Daemon  string // Lite, Stock or Crio; default Lite. Crio has no use for containerd's options.
	Handler string // HandlerLite or HandlerRunc; default: the daemon's own shim
	// Sharing is the option Sharing of HandlerLite in TOML syntax; "" omits the option.
	Sharing string
	// FastExec is the option FastExec of HandlerLite.
	FastExec bool
	// CgroupDriver is Cgroupfs or Systemd; default Cgroupfs.
	CgroupDriver string
	// Runtime is the OCI runtime of all handlers, looked up in PATH; default runc.
	Runtime string
	// RefuseMissingHostPath sets missing_host_path = "error", which only containerd-lite has.
	RefuseMissingHostPath bool
	// DiskMiB puts the bench's root on a file system of its own of this size, so that a test may
	// fill it; 0 uses the file system of the temporary directory.
	DiskMiB int
	// InspectEnvValues sets inspect_env_values, which only containerd-lite has.
	InspectEnvValues bool
	NRI              NRI
	// Measure is for benchmarks.
	Measure Measure
	// Bin is the directory of the daemon and its shim; default bin of the checkout for
	// containerd-lite, and .tools/bin for stock containerd.
	Bin string
	// Inject makes a system call of the daemon and its descendants fail. It has the syntax of
	// strace's option inject: "inotify_init1:error=EMFILE". It excludes Trace.
	Inject string
	// Config is TOML that is appended to config.toml.
	Config string
	// Race runs the containerd-lite in bin/race, which `make race` builds with the race detector.
	// Close reports the races that the detector found.
	Race bool
}

// Measure are the options of benchmarks.
type Measure struct {
	// Tmpfs puts the daemon's state directory and the state of the OCI runtime on a tmpfs, as /run
	// of a node is.
	Tmpfs bool
	// CPU accounts the CPU time of the daemon and its descendants, and Count counts their system
	// calls: see [Bench.Meter].
	CPU, Count bool
	// Trace runs the daemon under strace. strace writes to [Daemon.TraceFile] the programs that the
	// daemon and its descendants start, and the files that they sync.
	Trace bool

	runtimeRoot string // state directory of the OCI runtime with Tmpfs
}

// meter returns a meter for a daemon that gets a cgroup. tracing is a directory for it.
func (m Measure) meter(cgroup, tracing string) (of meter.Meter, err error) {
	if m.CPU {
		err = of.CPU(cgroup, Namespace, containerSlice)
	}
	if m.Count {
		err = errors.Join(err, of.Count(tracing))
	}
	return of, err
}

// NRI are options about NRI plugins.
type NRI struct {
	// Enabled makes the daemon call plugins, which connect to nri.sock in the bench's root.
	Enabled bool
	// Plugin is the path of a program that is installed as a plugin.
	Plugin string
}

// FromEnv returns the options that these variables set: LITE_DAEMON (lite, stock, crio),
// LITE_HANDLER (lite, runc), LITE_SHARING (pod, node, or a number), LITE_FASTEXEC (not empty),
// LITE_CGROUP (cgroupfs, systemd) and LITE_RUNTIME (runc, crun).
func FromEnv() Options {
	o := Options{
		Daemon: os.Getenv("LITE_DAEMON"), Handler: os.Getenv("LITE_HANDLER"), Sharing: os.Getenv("LITE_SHARING"),
		FastExec: os.Getenv("LITE_FASTEXEC") != "", CgroupDriver: os.Getenv("LITE_CGROUP"), Runtime: os.Getenv("LITE_RUNTIME"),
	}
	if _, err := strconv.Atoi(o.Sharing); err != nil && o.Sharing != "" {
		o.Sharing = strconv.Quote(o.Sharing)
	}
	return o
}

// WithDefaults returns the options with defaults for the fields that are not set.
func (o Options) WithDefaults() Options {
	if o.Daemon == "" {
		o.Daemon = Lite
	}
	if o.Handler == "" {
		o.Handler = HandlerRunc
		if o.Daemon == Lite {
			o.Handler = HandlerLite
		}
	}
	if o.CgroupDriver == "" {
		o.CgroupDriver = Cgroupfs
	}
	if o.Runtime == "" {
		o.Runtime = "runc"
	}
	return o
}

// lite returns the path of containerd-lite below bin.
func (o Options) lite() string {
	if o.Race {
		return "race/containerd-lite"
	}
	return "containerd-lite"
}

// Bench is a running registry, network and daemon.
type Bench struct {
	Options
	Root     string // everything the bench created
	Registry *Registry
	Network  *Network
	Daemon   *Daemon
	Meter    meter.Meter // of what Options.Measure asks for

	repo     Repo
	cgroups  []string // cgroups of containers, before the bench created anything
	before   State    // before the bench created anything
	baseline State    // with the daemon running and no pod created
}

// New starts a bench.
func New(ctx context.Context, o Options) (*Bench, error) {
	o = o.WithDefaults()
	repo, err := FindRepo()
	if err != nil {
		return nil, err
	}
	if missing := repo.Missing(o); len(missing) > 0 {
		return nil, fmt.Errorf("bench: missing %s", strings.Join(missing, ", "))
	}
	if err := sweepAbandoned(); err != nil {
		return nil, fmt.Errorf("bench: remove abandoned bench: %w", err)
	}
	root, err := os.MkdirTemp("", benchPrefix)
	if err != nil {
		return nil, err
	}
	if o.Measure.Tmpfs {
		o.Measure.runtimeRoot = filepath.Join(root, "runtime")
	}
	b := &Bench{Options: o, Root: root, repo: repo}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: %w", err), b.Close(ctx))
	}
	return b, nil
}

func (b *Bench) start(ctx context.Context) error {
	var err error
	if b.cgroups, err = containerCgroups(); err != nil {
		return err
	}
	if b.before, err = b.hostState(); err != nil {
		return fmt.Errorf("read host state: %w", err)
	}
	if err := b.mountDisk(ctx); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if b.Measure.Tmpfs {
		if err := mountTmpfs(b.Path("state"), b.Measure.runtimeRoot); err != nil {
			return fmt.Errorf("tmpfs: %w", err)
		}
	}
	// A container in a user namespace reaches its root file system under another user ID.
	if err := os.Chmod(b.Root, 0o711); err != nil {
		return err
	}
	if b.Registry, err = newRegistry(ctx, b.repo, b.Path("certs.d")); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	if b.Network, err = newNetwork(b.Root, b.repo.Tool("cni")); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := b.writeOwner(); err != nil {
		return err
	}
	b.Daemon = newDaemon(b)
	if b.Meter, err = b.Measure.meter(b.cgroup(), b.Path("tracing")); err != nil {
		return fmt.Errorf("meter: %w", err)
	}
	if err := b.writeCrictlConfig(); err != nil {
		return err
	}
	if err := b.installPlugin(); err != nil {
		return fmt.Errorf("NRI plugin: %w", err)
	}
	if err := b.Daemon.Start(ctx); err != nil {
		return err
	}
	b.baseline, err = b.State(ctx)
	return err
}

func (b *Bench) installPlugin() error {
	if b.NRI.Plugin == "" {
		return nil
	}
	if err := os.Mkdir(b.Path("nri"), 0o700); err != nil {
		return err
	}
	return os.Symlink(b.NRI.Plugin, b.Path("nri", "10-"+filepath.Base(b.NRI.Plugin)))
}

// Close stops the daemon and removes everything that the bench created. The error lists all
// resources that the runtime left behind.
func (b *Bench) Close(ctx context.Context) error {
	var found []error
	if b.baseline != nil && b.Daemon.Running() {
		found = append(found, b.CheckLeaks(ctx), b.RemovePods(ctx))
	}
	if b.Daemon != nil {
		found = append(found, b.Daemon.Stop(), b.Daemon.races(), b.Daemon.SaveLog(), b.Daemon.program.clean())
	}
	if b.Registry != nil {
		b.Registry.Close()
	}
	if b.Network != nil {
		found = append(found, b.Network.Remove())
	}
	b.Meter.Close()
	found = append(found, b.sweep())
	found = append(found, os.RemoveAll(b.Root))
	if b.before != nil {
		found = append(found, b.before.Await(ctx, func(context.Context) (State, error) { return b.hostState() }))
	}
	return errors.Join(found...)
}

// Path returns a path under the bench's root.
func (b *Bench) Path(elem ...string) string {
	return filepath.Join(append([]string{b.Root}, elem...)...)
}
