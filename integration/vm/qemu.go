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

// machine is what a guest is started with.
type machine struct {
	image   Image
	disk    string // the node's, and nothing for a root file system that is forgotten
	payload string // its disk
	run     string // the folder for what the guest writes
	accel   string
	// terminal makes the console that of the user; without it there is a port for the output.
	terminal bool
}

// Files in the folder of a run.
const (
	consoleFile = "console"
	logsFile    = "logs.tar"
	resultFile  = "result"
)

// kernelArgs let a panic end the machine, with -no-reboot, and turn on pressure stall information,
// which Debian's kernel has but leaves off.
const kernelArgs = "root=/dev/vda rw console=ttyS0 quiet panic=-1 psi=1 systemd.show_status=error"

// root is the drive of the root file system. What a guest writes to one that is forgotten goes to a
// temporary file of qemu's. A node's loses, when qemu is killed, what the guest has not flushed:
// the map of an image in qcow2 is in qemu's memory until then.
func (m machine) root() string {
	if m.disk == "" {
		return "if=virtio,format=raw,cache=unsafe,snapshot=on,file=" + m.image.path("root.img")
	}
	return "if=virtio,format=qcow2,cache=writeback,file=" + m.disk
}

// args are the arguments of qemu.
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

// accelerator returns kvm where it works and is faster than emulation, and else tcg.
func accelerator(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "lite-vm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "probe")
	if err := os.WriteFile(disk, bootSector(), 0o600); err != nil {
		return "", err
	}
	// Where /dev/kvm is that of a virtual machine it may open and then take seconds for what
	// emulation does in a tenth of one.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	probe := exec.CommandContext(ctx, qemu, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "kvm", "-m", "64",
		"-drive", "format=raw,file="+disk, "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
	var ended *exec.ExitError
	if err := probe.Run(); errors.As(err, &ended) && ended.ExitCode() == probeExit {
		return "kvm", nil
	}
	return "tcg,thread=multi", nil
}

// probeExit is how qemu ends when the guest writes probeValue to the port of isa-debug-exit.
const (
	probeValue = 0x10
	probeExit  = probeValue<<1 | 1
)

// bootSector is a machine's whole program: write probeValue to port 0xf4.
func bootSector() []byte {
	sector := make([]byte, 512)
	copy(sector, []byte{
		0xb0, probeValue, // mov al, probeValue
		0xba, 0xf4, 0x00, // mov dx, 0xf4
		0xee, // out dx, al
		0xf4, // hlt
	})
	copy(sector[510:], []byte{0x55, 0xaa}) // what a BIOS knows a boot sector by
	return sector
}
