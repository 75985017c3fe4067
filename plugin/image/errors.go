// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// maxErrorText bounds the text of a pull error in bytes. Much of the text comes from the registry,
// and gRPC sends it in a header.
const maxErrorText = 2 << 10

// notFoundHint also covers an index that has no image for the platform of this node.
const notFoundHint = "check the image's name, tag and platforms"

// errStalled ends a pull that received no data from its registry for too long.
var errStalled = errors.New("no progress")

// pullError is the reason of a failed pull, for users. Its text names the image and the registry,
// may end with a hint, and contains no credentials. It unwraps to its errdefs class only, because
// the text of the cause may contain credentials.
type pullError struct {
	text  string
	class error
}

func (e *pullError) Error() string { return e.text }

func (e *pullError) Unwrap() error { return e.class }

// diagnosis is the class, the kubelet's reason and the hint for an error of the transfer.
type diagnosis struct {
	class error
	// reason is an error of the CRI that the kubelet shows instead of ErrImagePull. The kubelet
	// looks for it at the start of the text only. The gRPC code precedes the text unless the code
	// is Unknown (k8s.io/cri-client, PullImage), so such errors are of class Unknown.
	reason error
	hint   string
}

var (
	registryUnavailable = diagnosis{class: errdefs.ErrUnknown, reason: crierrors.ErrRegistryUnavailable}
	signatureInvalid    = diagnosis{class: errdefs.ErrUnknown, reason: crierrors.ErrSignatureValidationFailed}
)

// explain turns an error of the transfer into a pullError, or returns the error of ctx if that has
// ended.
func (p *pull) explain(ctx context.Context, source *registrySource, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return &pullError{class: context.DeadlineExceeded, text: fmt.Sprintf(
			"image %s: pull from %s: no data received for %s (limit: image_pull_progress_timeout)",
			p.name, p.host, p.settings.ProgressTimeout)}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d := diagnose(err)
	if source.refused() {
		d = signatureInvalid
	}
	text := fmt.Sprintf("image %s: pull from %s: %s", p.name, p.host, cleanText(err.Error(), p.settings.access.secretsOf(p.creds)))
	if d.reason != nil {
		text = d.reason.Error() + ": " + text
	}
	if d.hint != "" {
		text += " (" + d.hint + ")"
	}
	if err := p.ignoredHosts(); err != nil {
		text += fmt.Sprintf("; the hosts of the registry are not used: %v", err)
	}
	return &pullError{text: text, class: d.class}
}

// ignoredHosts returns the error because of which containerd ignores the registry's hosts.toml.
func (p *pull) ignoredHosts() error {
	dir, err := hostDir(p.settings.HostsDirs)(p.host)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return config.CheckHostsFile(filepath.Join(dir, "hosts.toml"))
}

// diagnose classifies an error of the transfer.
func diagnose(err error) diagnosis {
	if status, ok := errors.AsType[remoteerrors.ErrUnexpectedStatus](err); ok {
		return diagnoseStatus(status.StatusCode)
	}
	_, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	_, request := errors.AsType[*url.Error](err)
	_, connection := errors.AsType[*net.OpError](err) // while a response is read
	_, panicked := errors.AsType[*guard.Panic](err)   // possibly while a response is read
	switch {
	case panicked:
		return diagnosis{class: errdefs.ErrInternal}
	case errors.Is(err, docker.ErrInvalidAuthorization):
		return diagnoseStatus(http.StatusUnauthorized)
	case badCert:
		return diagnosis{class: errdefs.ErrFailedPrecondition, hint: "add the registry's CA to its hosts.toml"}
	case errors.Is(err, http.ErrSchemeMismatch):
		return diagnosis{class: errdefs.ErrFailedPrecondition, hint: "the registry uses plain HTTP; set an http:// URL in its hosts.toml"}
	case request, connection:
		return registryUnavailable
	case errdefs.IsNotFound(err):
		return diagnosis{class: errdefs.ErrNotFound, hint: notFoundHint}
	case errdefs.IsFailedPrecondition(err), errors.Is(err, io.ErrUnexpectedEOF):
		return diagnosis{class: errdefs.ErrDataLoss, hint: "the registry sent content that does not match the size or digest of its descriptor"}
	default:
		return diagnosis{class: errdefs.Resolve(err)}
	}
}

// diagnoseStatus classifies an HTTP status of a registry.
func diagnoseStatus(code int) diagnosis {
	const hint = "check the pod's imagePullSecrets"
	switch {
	case code == http.StatusUnauthorized:
		return diagnosis{class: errdefs.ErrUnauthenticated, hint: hint}
	case code == http.StatusForbidden:
		return diagnosis{class: errdefs.ErrPermissionDenied, hint: hint}
	case code == http.StatusNotFound:
		return diagnosis{class: errdefs.ErrNotFound, hint: notFoundHint}
	case code == http.StatusTooManyRequests:
		return diagnosis{class: errdefs.ErrResourceExhausted, hint: "the registry limits the rate of pulls; log in or use a mirror"}
	case code >= http.StatusInternalServerError:
		return registryUnavailable
	default:
		return diagnosis{class: errdefs.ErrUnknown}
	}
}

// urlSecrets matches URLs, to remove user information and queries: storage services behind a
// registry sign their URLs in the query.
var urlSecrets = regexp.MustCompile(`(\w+://)(?:[^/@\s"]*@)?([^\s"?]*)(?:\?[^\s"]*)?`)

// cleanText makes the text of an error safe to show: it redacts secrets, replaces control
// characters and limits the length.
func cleanText(text string, secrets []string) string {
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, "[redacted]")
	}
	redact := strings.NewReplacer(pairs...)
	// Redact before the URLs are cut, because a cut can leave a part of a secret, and after it,
	// because a cut can join two parts to a secret.
	text = redact.Replace(urlSecrets.ReplaceAllString(redact.Replace(text), "$1$2"))
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}
