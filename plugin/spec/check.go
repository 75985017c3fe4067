// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	maxPath     = 4096 // PATH_MAX
	maxHostname = 64   // HOST_NAME_MAX
)

// CheckPod returns an error if no pod can be created from config.
func CheckPod(config *runtimeapi.PodSandboxConfig) error {
	if err := checkPodMetadata(config); err != nil {
		return fmt.Errorf("pod config: %w", err)
	}
	if err := checkPodFields(config); err != nil {
		return fmt.Errorf("pod %s/%s: %w", config.GetMetadata().GetNamespace(), config.GetMetadata().GetName(), err)
	}
	return nil
}

func checkPodMetadata(config *runtimeapi.PodSandboxConfig) error {
	m := config.GetMetadata()
	if m.GetName() == "" {
		return invalid("metadata.name", "is missing")
	}
	return errors.Join(
		checkText("metadata.name", m.GetName()),
		checkText("metadata.namespace", m.GetNamespace()),
		checkText("metadata.uid", m.GetUid()),
		checkCNIArgument("metadata.name", m.GetName()),
		checkCNIArgument("metadata.namespace", m.GetNamespace()),
		checkCNIArgument("metadata.uid", m.GetUid()),
	)
}

// checkCNIArgument refuses the separators of CNI_ARGS.
func checkCNIArgument(field, s string) error {
	if strings.ContainsAny(s, ";=") {
		return invalid(field, "%q contains ; or =", s)
	}
	return nil
}

func checkContainer(in *Input) error {
	name := in.Config.GetMetadata().GetName()
	if name == "" {
		return invalid("metadata.name", "is missing")
	}
	err := errors.Join(
		checkText("metadata.name", name),
		checkText("image.user_specified_image", in.Config.GetImage().GetUserSpecifiedImage()),
		checkLabelsAndAnnotations(in.Config),
		checkLogPath(in.Config.GetLogPath()),
		checkStopSignal(in.Config.GetStopSignal()),
	)
	if err != nil {
		return err
	}
	if in.Config.GetWindows() != nil {
		return invalid("windows", "this runtime serves Linux containers only")
	}
	if err := checkResolved(in); err != nil {
		return err
	}
	return CheckPod(in.Pod.Config)
}

// checkLogPath accepts a path below the log directory of the pod, or none. Symbolic links are
// checked when the log is opened.
func checkLogPath(path string) error {
	if path != "" && (!filepath.IsLocal(path) || filepath.Clean(path) == ".") {
		return invalid("log_path", "%q is not a file below the log directory", path)
	}
	return checkText("log_path", path)
}

func checkStopSignal(signal runtimeapi.Signal) error {
	if _, known := runtimeapi.Signal_name[int32(signal)]; !known {
		return invalid("stop_signal", "%d is unknown", signal)
	}
	return nil
}

// checkResolved catches errors of the caller, not of the CRI client.
func checkResolved(in *Input) error {
	switch {
	case in.ID == "" || in.Pod.ID == "":
		return fmt.Errorf("no id for the container or its pod: %w", errdefs.ErrInternal)
	case len(in.Mounts) != len(in.Config.GetMounts()):
		return fmt.Errorf("%d mounts, %d resolved: %w", len(in.Config.GetMounts()), len(in.Mounts), errdefs.ErrInternal)
	case len(in.Devices) != len(in.Config.GetDevices()):
		return fmt.Errorf("%d devices, %d resolved: %w", len(in.Config.GetDevices()), len(in.Devices), errdefs.ErrInternal)
	}
	return nil
}

// checkHostname refuses names that sethostname(2) refuses, and characters that would end the line
// in the pod's hostname file or environment.
func checkHostname(name string) error {
	if len(name) > maxHostname {
		return invalid("hostname", "has %d bytes, the maximum is %d", len(name), maxHostname)
	}
	if strings.ContainsAny(name, " /") {
		return invalid("hostname", "%q has a space or a slash", name)
	}
	return checkText("hostname", name)
}

// checkOwnHostname refuses a hostname for a pod that has no UTS namespace of its own.
func checkOwnHostname(config *runtimeapi.PodSandboxConfig) error {
	network := config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork()
	if config.GetHostname() != "" && network == modeNode {
		return invalid("hostname", "a pod on the host's network has the host's name (leave it empty)")
	}
	return nil
}

// checkText refuses control characters: files, annotations and logs that are read line by line must
// not contain a newline or NUL.
func checkText(field, s string) error {
	if i := strings.IndexFunc(s, isControl); i >= 0 {
		return invalid(field, "has a control character at byte %d", i)
	}
	return nil
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f
}

// checkPath returns the clean form of an absolute path.
func checkPath(field, p string) (string, error) {
	switch {
	case p == "":
		return "", invalid(field, "is empty")
	case len(p) >= maxPath:
		return "", invalid(field, "has %d bytes, the maximum is %d", len(p), maxPath-1)
	case !path.IsAbs(p):
		return "", invalid(field, "%q is not an absolute path", p)
	}
	return path.Clean(p), checkText(field, p)
}
