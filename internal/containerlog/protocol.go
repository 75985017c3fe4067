// SPDX-License-Identifier: Apache-2.0

package containerlog

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

// MethodReopen continues the log in a new file of the same name and returns Empty.
//
// The methods that follow an output are [Stdout] and [Stderr]: streams of BytesValue, first an
// empty one, then everything that the task writes after it until the output ends. A client that
// reads too slowly gets errdefs.ErrResourceExhausted.
const MethodReopen = "Reopen"

const uriPrefix = "cri-log:"

// Destination is the log file of a container.
type Destination struct {
	Dir     string // log_directory of the pod
	Name    string // log_path of the container; "" discards the output
	MaxLine int    // bytes of content in one record (max_container_log_line_size); 0 means 1 MiB
}

// IsURI reports whether a URI names a log.
func IsURI(uri string) bool { return strings.HasPrefix(uri, uriPrefix) }

// URI returns the destination as a URI.
func (d Destination) URI() string {
	return uriPrefix + "?" + url.Values{
		"dir":  {d.Dir},
		"name": {d.Name},
		"max":  {strconv.Itoa(d.MaxLine)},
	}.Encode()
}

// ParseURI is the inverse of [Destination.URI]. The error is errdefs.ErrInvalidArgument.
func ParseURI(uri string) (Destination, error) {
	query, found := strings.CutPrefix(uri, uriPrefix+"?")
	if !found {
		return Destination{}, fmt.Errorf("log %q: want the form %s?dir=…&name=…&max=…: %w", uri, uriPrefix, errdefs.ErrInvalidArgument)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Destination{}, fmt.Errorf("log %q: %w: %w", uri, errdefs.ErrInvalidArgument, err)
	}
	maxLine, err := strconv.Atoi(values.Get("max"))
	if err != nil {
		return Destination{}, fmt.Errorf("log %q: max: %w: %w", uri, errdefs.ErrInvalidArgument, err)
	}
	return Destination{Dir: values.Get("dir"), Name: values.Get("name"), MaxLine: maxLine}, nil
}
