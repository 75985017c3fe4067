// SPDX-License-Identifier: Apache-2.0

// Package security attacks a running daemon through images, registries, pods and clients. Each
// published vulnerability that applies is a subtest of TestSecurity, named after its entry.
//
// An entry passes if the daemon answers as expected, the canary of the host and the leak check find
// nothing, and the daemon then answers Status within statusTimeout. With LITE_DAEMON=stock the same
// attacks run against stock containerd as a control; failures are only recorded.
//
// The entries are in entries_test.go, and docs/security.md has the same table.
package security

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/canary"
	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
	"github.com/containerd-lite/containerd-lite/integration/lib/evilreg"
	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	// host is the registry from which the suite's images are pulled.
	host = "evil.test"
	// attackTimeout turns a hang of the daemon into an error.
	attackTimeout = 2 * time.Minute
	// statusTimeout is how long an idle daemon may take for Status, in the fastest of statusTries.
	statusTimeout = 100 * time.Millisecond
	statusTries   = 5
)

// suite is shared by the attacks.
type suite struct {
	harness.Session
	evil    *evilreg.Registry
	thief   *evilreg.Registry // another host, which must not receive anything meant for evil
	host    *canary.Host
	busybox []evilimg.Layer
	debug   string // the daemon's socket for profiles
}

// config makes the restart monitor poll often, so that an attack through its labels takes effect
// soon, and makes the daemon serve profiles and log at debug level.
const config = `
[debug]
  address = %q
  level = "debug"

[plugins."io.containerd.monitor.container.v1.restart"]
  interval = "500ms"
`

func TestSecurity(t *testing.T) {
	s := newSuite(t)
	sum := summary{daemon: s.Options.Daemon, passed: map[string]bool{}}
	for _, e := range entries() {
		if e.attack == nil {
			continue
		}
		a := &attack{suite: s, name: strings.ToLower(e.id)}
		ran := false
		passed := t.Run(e.id, func(t *testing.T) {
			ran = true
			a.T = t
			a.tolerant = s.Options.Daemon == harness.Stock || e.open != ""
			a.perform(e.attack)
		})
		if !ran { // not selected by -run
			continue
		}
		passed = passed && len(a.failures) == 0
		sum.add(e, passed, a)
		if passed && e.open != "" && s.Options.Daemon == harness.Lite {
			t.Errorf("%s passes: remove open from its entry", e.id)
		}
	}
	for _, e := range entries() {
		if e.attack == nil {
			sum.addOther(e)
		}
	}
	sum.print()
}

// summary counts entries and prints a line for each that does not pass.
type summary struct {
	daemon                string
	passed                map[string]bool // by ID, for the entries that apply
	failed, notApplicable int
	slowest               time.Duration
}

// add counts an entry with an attack of its own.
func (s *summary) add(e entry, passed bool, a *attack) {
	s.passed[e.id] = passed
	s.slowest = max(s.slowest, a.status)
	if !passed {
		s.failed++
		fmt.Printf("report: security: %s: %s fails: %s\n", s.daemon, e.id, firstLine(a.failures))
	}
}

// addOther counts an entry without an attack of its own.
func (s *summary) addOther(e entry) {
	if e.same == "" {
		s.notApplicable++
		fmt.Printf("report: security: %s does not apply: %s\n", e.id, e.reason)
		return
	}
	passed, ran := s.passed[e.same]
	if !ran {
		return
	}
	s.passed[e.id] = passed
	if !passed {
		s.failed++
		fmt.Printf("report: security: %s: %s fails like %s\n", s.daemon, e.id, e.same)
	}
}

func (s *summary) print() {
	fmt.Printf("report: security: %s: %d ids apply, %d passed, %d failed, %d not applicable; slowest Status after an attack %s\n",
		s.daemon, len(s.passed), len(s.passed)-s.failed, s.failed, s.notApplicable, s.slowest.Round(100*time.Microsecond))
}

func firstLine(failures []string) string {
	if len(failures) == 0 {
		return "see its output"
	}
	first, _, _ := strings.Cut(failures[0], "\n")
	return first[:min(len(first), 300)]
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	options := harness.FromEnv()
	debug := filepath.Join(t.TempDir(), "debug.sock")
	options.Config = fmt.Sprintf(config, debug)
	bench := open(t, options)
	session := harness.Session{Bench: bench, CRI: bench.Client(t, image.Busybox)}
	s := &suite{Session: session, evil: evilreg.New(), thief: evilreg.New()}
	s.debug = debug
	t.Cleanup(s.evil.Close)
	t.Cleanup(s.thief.Close)
	for name, registry := range map[string]*evilreg.Registry{host: s.evil, "thief.test": s.thief} {
		if err := registry.Mirror(s.Path("certs.d"), name); err != nil {
			t.Fatal(err)
		}
	}
	layers, err := evilimg.Of(s.Registry.Image(image.Busybox))
	if err != nil {
		t.Fatal(err)
	}
	s.busybox = layers
	watched := []string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", s.Tool("runc")}
	if s.host, err = canary.Plant(t.TempDir(), watched...); err != nil {
		t.Fatal(err)
	}
	return s
}

// open starts a bench. Resources that the attacks leave behind with stock containerd are no
// failure.
func open(t *testing.T, options harness.Options) *harness.Bench {
	t.Helper()
	if options.Daemon != harness.Stock {
		return harness.StartWith(t, options)
	}
	lock, err := harness.LockMachine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	bench, err := harness.New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bench.Close(harness.After(t)); err != nil {
			t.Logf("recorded: %v", err)
		}
	})
	return bench
}

// attack is a running entry. Its errors fail the test; for stock containerd and for open entries
// they are only recorded.
type attack struct {
	*testing.T
	*suite
	name     string        // prefix of its pods and images
	made     int           // number of those created so far
	tolerant bool          // failures are recorded and are no error
	status   time.Duration // duration of Status after the attack
	ctx      context.Context

	mu       sync.Mutex // protects failures: attacks may run goroutines
	failures []string
}

// perform runs an attack and compares the state of the host before and after it.
func (a *attack) perform(run func(*attack)) {
	ctx, cancel := context.WithTimeout(a.T.Context(), attackTimeout)
	a.ctx = ctx
	before, err := a.look(ctx)
	if err != nil {
		a.T.Fatal(err)
	}
	a.Cleanup(func() {
		defer cancel()
		after, stop := context.WithTimeout(harness.After(a.T), attackTimeout)
		defer stop()
		if a.Options.Daemon == harness.Stock && len(a.failures) > 0 {
			a.startOver(after)
			return
		}
		if err := before.Await(after, a.look); err != nil {
			a.Errorf("%v", err)
		}
		a.checkStatus(after)
	})
	run(a)
}

// startOver restarts a daemon that an attack has broken, and removes what it left.
func (a *attack) startOver(ctx context.Context) {
	err := errors.Join(a.Daemon.Kill(), a.Daemon.Start(ctx))
	if err == nil {
		err = a.RemovePods(ctx)
	}
	if err != nil {
		a.Logf("restart: %v", err)
	}
}

// look returns the state of the leak check and of the canary.
func (a *attack) look(ctx context.Context) (harness.State, error) {
	state, err := a.State(ctx)
	if err != nil {
		return nil, err
	}
	host, err := a.host.Look()
	if err != nil {
		return nil, err
	}
	for kind, things := range host {
		state[kind] = things
	}
	return state, nil
}

func (a *attack) checkStatus(ctx context.Context) {
	a.Helper()
	took := a.timeStatus(ctx)
	if len(took) == 0 {
		return
	}
	if a.status = slices.Min(took); a.status > statusTimeout {
		a.Errorf("Status takes %v after the attack, want at most %v in the fastest of %d calls", a.status, statusTimeout, statusTries)
	}
}

// timeStatus returns the durations of several Status calls.
func (a *attack) timeStatus(ctx context.Context) (took []time.Duration) {
	a.Helper()
	for range statusTries {
		start := time.Now()
		if _, err := a.Status(ctx, &runtimeapi.StatusRequest{}); err != nil {
			a.Errorf("Status: %v", err)
			return nil
		}
		took = append(took, time.Since(start))
	}
	return took
}

// Context is canceled before the test's own, so that a hang of the daemon is an error.
func (a *attack) Context() context.Context { return a.ctx }

// Errorf records a failure.
func (a *attack) Errorf(format string, args ...any) {
	a.Helper()
	a.mu.Lock()
	a.failures = append(a.failures, fmt.Sprintf(format, args...))
	a.mu.Unlock()
	if a.tolerant {
		a.Logf("recorded: "+format, args...)
		return
	}
	a.T.Errorf(format, args...)
}

// Fatalf records a failure and ends the attack.
func (a *attack) Fatalf(format string, args ...any) {
	a.Helper()
	a.Errorf(format, args...)
	if a.tolerant {
		a.SkipNow()
	}
	a.FailNow()
}

// Fatal is Fatalf for an error.
func (a *attack) Fatal(err error) {
	a.Helper()
	a.Fatalf("%v", err)
}
