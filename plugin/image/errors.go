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
	"regexp"
	"strings"
	"unicode"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// maxErrorText bounds the text of a pull error in bytes; much of it is the
// registry's, and gRPC sends it in a header.
const maxErrorText = 2 << 10

// notFoundHint also covers an index without this machine's platform.
const notFoundHint = "check the image's name, tag and platforms"

// errStalled ends a pull that waits for a registry in vain.
var errStalled = errors.New("no progress")

// pullError is why a pull failed, for users: it names the image and the
// registry, tells what to do, and has no credentials in it. It unwraps to its
// errdefs class alone, as the cause's text may have what this one must not.
type pullError struct {
	text  string
	class error
}

func (e *pullError) Error() string { return e.text }

func (e *pullError) Unwrap() error { return e.class }

// diagnosis is what an error of the transfer means.
type diagnosis struct {
	class error
	// word is one that the kubelet has a reason of its own for, instead of
	// ErrImagePull. It finds it at the start of the text only, and has a text without
	// the gRPC code before it only where the code is Unknown (k8s.io/cri-client,
	// PullImage): such errors are of class Unknown.
	word error
	hint string
}

var (
	registryUnavailable = diagnosis{class: errdefs.ErrUnknown, word: crierrors.ErrRegistryUnavailable}
	signatureInvalid    = diagnosis{class: errdefs.ErrUnknown, word: crierrors.ErrSignatureValidationFailed}
)

// explain turns an error of the transfer into one for users.
func (p *pull) explain(ctx context.Context, source *registrySource, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return &pullError{class: context.DeadlineExceeded, text: fmt.Sprintf(
			"image %s: pull from %s: no byte received for %s, the limit that image_pull_progress_timeout sets",
			p.name, p.host, p.m.opts.ProgressTimeout)}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d := diagnose(err)
	if source.refused() {
		d = signatureInvalid
	}
	text := fmt.Sprintf("image %s: pull from %s: %s", p.name, p.host, cleanText(err.Error(), p.m.secretsOf(p.creds)))
	if d.word != nil {
		text = d.word.Error() + ": " + text
	}
	if d.hint != "" {
		text += " (" + d.hint + ")"
	}
	return &pullError{text: text, class: d.class}
}

// diagnose finds the class of an error of the transfer.
func diagnose(err error) diagnosis {
	if status, ok := errors.AsType[remoteerrors.ErrUnexpectedStatus](err); ok {
		return diagnoseStatus(status.StatusCode)
	}
	_, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	_, request := errors.AsType[*url.Error](err)
	_, connection := errors.AsType[*net.OpError](err) // in the middle of an answer
	_, panicked := errors.AsType[*guard.Panic](err)   // while a request was answered, perhaps
	switch {
	case panicked:
		return diagnosis{class: errdefs.ErrInternal}
	case errors.Is(err, docker.ErrInvalidAuthorization):
		return diagnoseStatus(http.StatusUnauthorized)
	case badCert:
		return diagnosis{class: errdefs.ErrFailedPrecondition, hint: "name the registry's CA in its hosts.toml"}
	case errors.Is(err, http.ErrSchemeMismatch):
		return diagnosis{class: errdefs.ErrFailedPrecondition, hint: "the registry speaks plain HTTP, give it an http:// URL in its hosts.toml"}
	case request, connection:
		return registryUnavailable
	case errdefs.IsNotFound(err):
		return diagnosis{class: errdefs.ErrNotFound, hint: notFoundHint}
	case errdefs.IsFailedPrecondition(err), errors.Is(err, io.ErrUnexpectedEOF):
		return diagnosis{class: errdefs.ErrDataLoss, hint: "the registry sent content of another size or digest than promised"}
	default:
		return diagnosis{class: errdefs.Resolve(err)}
	}
}

// diagnoseStatus finds the class of a registry's HTTP status.
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
		return diagnosis{class: errdefs.ErrResourceExhausted, hint: "the registry limits pulls, log in or use a mirror"}
	case code >= http.StatusInternalServerError:
		return registryUnavailable
	default:
		return diagnosis{class: errdefs.ErrUnknown}
	}
}

// urlSecrets finds what URLs carry besides scheme, host and path: user
// information, and queries, where storage behind a registry has its signatures.
var urlSecrets = regexp.MustCompile(`(\w+://)(?:[^/@\s"]*@)?([^\s"?]*)(?:\?[^\s"]*)?`)

// cleanText makes the text of an error fit to be shown: without secrets, without
// control characters and of bounded length.
func cleanText(text string, secrets []string) string {
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, "[redacted]")
	}
	redact := strings.NewReplacer(pairs...)
	// Before URLs are cut, which could leave a part of a secret, and after, which
	// could have put one together.
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
