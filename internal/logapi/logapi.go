// SPDX-License-Identifier: Apache-2.0

package logapi

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// Service is the name of the ttrpc service. The request of its methods is ConnectRequest, which
// names the task.
const Service = "containerd.lite.shim.v1.Log"

// The methods of the service. Those that follow an output have the name of the stream in the log.
const (
	// Reopen continues the log in a new file of the same name and returns Empty.
	Reopen = "Reopen"
	// Stdout and Stderr are streams of BytesValue: first an empty one, then everything that the
	// task writes after it until the output ends. A client that reads too slowly gets
	// errdefs.ErrResourceExhausted.
	Stdout = "stdout"
	Stderr = "stderr"
)

const prefix = "cri-log:"

// Log is the destination of a container's output; see package crilog.
type Log struct {
	Dir     string // log_directory of the pod
	Name    string // log_path of the container; "" discards the output
	MaxLine int    // maximum content of a record in bytes; 0 for the maximum of crilog
}

// Is reports whether a URI names a log.
func Is(uri string) bool { return strings.HasPrefix(uri, prefix) }

// URI returns the log as a URI.
func (l Log) URI() string {
	return prefix + "?" + url.Values{
		"dir":  {l.Dir},
		"name": {l.Name},
		"max":  {strconv.Itoa(l.MaxLine)},
	}.Encode()
}

// Parse is the inverse of [Log.URI]. The error is errdefs.ErrInvalidArgument.
func Parse(uri string) (Log, error) {
	query, found := strings.CutPrefix(uri, prefix+"?")
	if !found {
		return Log{}, fmt.Errorf("log %q: want the form %s?dir=…&name=…&max=…: %w", uri, prefix, errdefs.ErrInvalidArgument)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Log{}, fmt.Errorf("log %q: %w: %w", uri, errdefs.ErrInvalidArgument, err)
	}
	maxLine, err := strconv.Atoi(values.Get("max"))
	if err != nil {
		return Log{}, fmt.Errorf("log %q: max: %w: %w", uri, errdefs.ErrInvalidArgument, err)
	}
	return Log{Dir: values.Get("dir"), Name: values.Get("name"), MaxLine: maxLine}, nil
}
