// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/sharing"
	"github.com/containerd-lite/containerd-lite/shim/bootstrap"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/group"
)

// start answers with the address of a shim for the task: one that runs, or else
// a new one. If there is nobody to take the answer, containerd was killed and the
// task does not come.
func (r *request) start(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(unix.SIGPIPE) // an answer that is not taken is an error
	params, err := bootstrap.Read(stdin, r.id, r.namespace)
	if err != nil {
		return err
	}
	r.debug = r.debug || params.Debug
	dir := bundle.Dir(r.bundle)
	slot, err := r.claim(ctx, dir, params)
	if err != nil {
		return err
	}
	answer, err := params.Answer(slot.Address())
	if err != nil {
		return err
	}
	if _, err := stdout.Write(answer); err != nil {
		return errors.Join(fmt.Errorf("answer to containerd: %w", err), r.callOff(ctx, dir))
	}
	if params.Legacy {
		return dir.WriteAddress(slot.Address())
	}
	return nil
}

// claim joins the shim of the task's pod, or else one that the task may share, or
// starts one. Which it was is on record for the delete command.
func (r *request) claim(ctx context.Context, dir bundle.Dir, params *bootstrap.Params) (group.Slot, error) {
	spec, err := dir.Spec()
	if errors.Is(err, fs.ErrNotExist) {
		spec, err = &bundle.Spec{}, nil
	}
	if err != nil {
		return group.Slot{}, err
	}
	pod := spec.Group(r.id)
	tasks, err := r.group(params, pod)
	if err != nil {
		return group.Slot{}, err
	}
	if pod != r.id {
		if slot, joined := joinPod(ctx, dir.Of(pod), r.id); joined {
			return slot, dir.WriteSocket(slot.Path())
		}
	}
	slot, err := tasks.Claim(ctx, r.id, func(slot group.Slot, socket *os.File) error {
		return r.launch(slot, socket, params)
	})
	if err != nil {
		return slot, err
	}
	return slot, dir.WriteSocket(slot.Path())
}

// joinPod joins the shim that has the pod of a task, whichever that is.
func joinPod(ctx context.Context, pod bundle.Dir, id string) (group.Slot, bool) {
	path, err := pod.Socket()
	if err != nil {
		return group.Slot{}, false
	}
	slot := group.At(path)
	joined, err := slot.Join(ctx, group.Join, id)
	return slot, joined && err == nil
}

// group returns the tasks that may have a shim in common: those of one pod, or
// those with the same options, all of which the shim then is started with. They
// have the same binary, too, so that after an upgrade new pods get new shims.
// Core scheduling keeps pods apart (SCHED_CORE), and so rules out sharing.
func (r *request) group(params *bootstrap.Params, pod string) (group.Group, error) {
	pods := params.Options.Sharing
	if !pods.Shared() || os.Getenv(schedCore) != "" {
		return group.New(params.SocketDir, r.address, r.namespace, pod, sharing.Pod)
	}
	key, err := params.Options.Key()
	if err != nil {
		return group.Group{}, err
	}
	var self unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &self); err != nil {
		return group.Group{}, fmt.Errorf("shim binary: %w", err)
	}
	// A file that is executed keeps its inode number, even when it is deleted.
	name := fmt.Sprintf("%d\x00%d\x00%s", self.Dev, self.Ino, key)
	return group.New(params.SocketDir, r.address, r.namespace, name, pods)
}

// oneProcessor is what a shim needs, and each that the Go runtime prepares for
// costs memory from the start: to lower their number later costs more. The OCI
// runtime does not inherit it (foreign): runc is faster with all that there are.
const oneProcessor = "GOMAXPROCS=1"

// launch starts the shim. Its socket is listening already, so it need not be
// waited for.
func (r *request) launch(slot group.Slot, socket *os.File, params *bootstrap.Params) error {
	opts := params.Options
	self, err := program()
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	cmd := exec.Command(self, "-namespace", r.namespace, "-id", r.id, "-address", r.address,
		"-bundle", r.bundle, "-socket", slot.Path(), "-pods", strconv.Itoa(int(opts.Sharing)),
		"-debug="+strconv.FormatBool(r.debug))
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), oneProcessor)
	if params.Events != "" {
		cmd.Env = append(cmd.Env, ttrpcAddress+"="+params.Events)
	}
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if log, err := openLog(bundle.Dir(r.bundle)); err == nil {
		defer log.Close()
		cmd.Stderr = log
	}
	if err := startIsolated(cmd); err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	err = settle(cmd.Process.Pid, opts.GetShimCgroup())
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("start shim: %w", err)
	}
	return cmd.Process.Release()
}

// program returns a path of the file that this process runs. The usual one may be that of another
// program by now, or of none: an upgrade can come between the start of a process and this.
func program() (string, error) {
	const running = "/proc/self/exe"
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	ours, err := os.Stat(running)
	if err != nil {
		return "", err
	}
	if there, err := os.Stat(self); err == nil && os.SameFile(ours, there) {
		return self, nil
	}
	return running, nil
}

// startIsolated starts a command, with a core scheduling cookie of its own if
// containerd asks for one by SCHED_CORE (prctl(2), PR_SCHED_CORE).
func startIsolated(cmd *exec.Cmd) error {
	if os.Getenv(schedCore) == "" {
		return cmd.Start()
	}
	const processGroup = 2 // PR_SCHED_CORE_SCOPE_PROCESS_GROUP
	runtime.LockOSThread() // the thread that gets the cookie is the one that forks
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_CREATE, 0, processGroup, 0); err != nil {
		return fmt.Errorf("core scheduling: %w", err)
	}
	return cmd.Start()
}

// settle gives a new shim its place among the processes of the host.
func settle(pid int, shimCgroup string) error {
	if shimCgroup != "" {
		if err := cgroup.Join(shimCgroup, pid); err != nil {
			return err
		}
	}
	return adjustOOMScore(pid, os.Getppid())
}

// maxOOMScore is OOM_SCORE_ADJ_MAX, see proc_pid_oom_score_adj(5).
const maxOOMScore = 1000

// adjustOOMScore makes the kernel prefer the shim to containerd when memory
// runs out. A containerd without CAP_SYS_RESOURCE may not be able to; its
// shims then have the score that they inherit.
func adjustOOMScore(pid, containerd int) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", containerd))
	if err != nil {
		return fmt.Errorf("out-of-memory score of containerd: %w", err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("out-of-memory score of containerd: %w", err)
	}
	score = min(score+1, maxOOMScore)
	err = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("out-of-memory score of the shim: %w", err)
	}
	return nil
}
