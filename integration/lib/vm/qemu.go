// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const qemu = "qemu-system-x86_64"

// machine is the configuration of a guest.
type machine struct {
	image   Image
	disk    string // a node's disk; "" discards changes of the root file system
	payload string // disk of the payload
	run     string // directory for the guest's output
	accel   string
	// terminal connects the console to the user's terminal. Without it the output has a port of its
	// own.
	terminal bool
}

// Files in the directory of a run.
const (
	consoleFile = "console"
	logsFile    = "logs.tar"
	resultFile  = "result"
)

// kernelArgs make a kernel panic end the machine, together with -no-reboot, and enable pressure
// stall information, which Debian's kernel has but leaves off.
const kernelArgs = "root=/dev/vda rw console=ttyS0 quiet panic=-1 psi=1 systemd.show_status=error"

// root returns the drive of the root file system. Without a disk of its own, a guest writes to a
// temporary file of qemu. A node's disk loses data that the guest has not flushed when qemu is
// killed: until then qemu keeps the mapping of a qcow2 image in memory.
func (m machine) root() string {
	if m.disk == "" {
		return "if=virtio,format=raw,cache=unsafe,snapshot=on,file=" + m.image.path("root.img")
	}
	return "if=virtio,format=qcow2,cache=writeback,file=" + m.disk
}

// args returns the arguments of qemu.
func (m machine) args() []string {
	in := func(name string) string { return filepath.Join(m.run, name) }
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", m.accel, "-cpu", "max", "-smp", "2", "-m", "4096",
		"-kernel", m.image.path("vmlinuz"), "-initrd", m.image.path("initrd.img"),
		"-append", kernelArgs,
		"-drive", m.root(),
		"-drive", "if=virtio,format=raw,cache=unsafe,file=" + m.payload,
		"-nic", "user,restrict=on,model=virtio-net-pci",
		"-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci",
	}
	port := func(name, file string) {
		args = append(args, "-chardev", "file,id="+name+",path="+file, "-device", "virtserialport,name="+name+",chardev="+name)
	}
	port("logs", in(logsFile))
	port("result", in(resultFile))
	if m.terminal {
		return append(args, "-serial", "mon:stdio")
	}
	port("output", "/dev/fd/1")
	return append(args, "-serial", "file:"+in(consoleFile))
}

// accelerator returns kvm if it works and is about as fast as emulation at least, otherwise tcg. In
// a virtual machine, /dev/kvm may open and need twenty times as long as emulation for a program of
// four instructions; Linux then hangs.
func accelerator(ctx context.Context) (string, error) {
	const kvm, tcg = "kvm", "tcg,thread=multi"
	dir, err := os.MkdirTemp("", "lite-vm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "probe")
	if err := os.WriteFile(disk, bootSector(), 0o600); err != nil {
		return "", err
	}
	start := time.Now()
	if !probe(ctx, tcg, disk) {
		return tcg, nil // the guest will report why
	}
	ctx, cancel := context.WithTimeout(ctx, slowestKVM*time.Since(start))
	defer cancel()
	if probe(ctx, kvm, disk) {
		return kvm, nil
	}
	return tcg, nil
}

// slowestKVM is how many times longer than emulation KVM may take for the probe. It includes the
// start of qemu, which takes as long for both.
const slowestKVM = 5

// probe reports whether the boot sector on the disk runs to its end with an accelerator.
func probe(ctx context.Context, accelerator, disk string) bool {
	cmd := exec.CommandContext(ctx, qemu, "-nodefaults", "-no-user-config", "-display", "none", "-accel", accelerator, "-m", "64",
		"-drive", "format=raw,file="+disk, "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
	var ended *exec.ExitError
	return errors.As(cmd.Run(), &ended) && ended.ExitCode() == probeExit
}

// probeExit is the exit code of qemu when the guest writes probeValue to the port of
// isa-debug-exit.
const (
	probeValue = 0x10
	probeExit  = probeValue<<1 | 1
)

// bootSector returns a complete program: it writes probeValue to port 0xf4.
func bootSector() []byte {
	sector := make([]byte, 512)
	copy(sector, []byte{
		0xb0, probeValue, // mov al, probeValue
		0xba, 0xf4, 0x00, // mov dx, 0xf4
		0xee, // out dx, al
		0xf4, // hlt
	})
	copy(sector[510:], []byte{0x55, 0xaa}) // boot sector signature
	return sector
}
