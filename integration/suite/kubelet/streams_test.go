// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	clientexec "k8s.io/client-go/util/exec"
	streamhttp "k8s.io/streaming/pkg/httpstream"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// protocol is one of the two streaming protocols between kubectl and the kubelet.
type protocol struct {
	name     string
	executor func(*rest.Config, *url.URL) (remotecommand.Executor, error)
	dialer   func(*rest.Config, *url.URL) (streamhttp.Dialer, error)
}

var protocols = []protocol{
	{
		"websocket",
		func(config *rest.Config, u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(config, http.MethodGet, u.String())
		},
		func(config *rest.Config, u *url.URL) (streamhttp.Dialer, error) {
			return portforward.NewSPDYOverWebsocketDialerForStreaming(u, config)
		},
	},
	{
		"spdy",
		func(config *rest.Config, u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(config, http.MethodPost, u)
		},
		func(config *rest.Config, u *url.URL) (streamhttp.Dialer, error) {
			transport, upgrader, err := spdy.RoundTripperFor(config)
			if err != nil {
				return nil, err
			}
			return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), nil
		},
	},
}

// streamURL returns the address of a streaming call for a container of the pod, or for the pod.
func (p *pod) streamURL(verb, container string, query url.Values) *url.URL {
	u := &url.URL{Scheme: "https", Host: strings.TrimPrefix(p.rest.Host, "https://"), RawQuery: query.Encode()}
	return u.JoinPath(verb, "default", p.name, container)
}

// stream runs one exec or attach with the streams that are set in options.
func (p *pod) stream(with protocol, u *url.URL, options remotecommand.StreamOptions) error {
	executor, err := with.executor(p.rest, u)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(p.t.Context(), options)
}

// exec runs a command in a container through the kubelet and returns its output.
func (p *pod) exec(container string, command ...string) string {
	p.t.Helper()
	out, err := p.tryExec(container, command...)
	if err != nil {
		p.t.Fatalf("pod %s: exec %q: %v: %s", p.name, command, err, out)
	}
	return out
}

func (p *pod) tryExec(container string, command ...string) (string, error) {
	var out, errs bytes.Buffer
	query := url.Values{"command": command, "output": {"1"}, "error": {"1"}}
	err := p.stream(protocols[0], p.streamURL("exec", container, query), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
	return strings.TrimSpace(out.String() + errs.String()), err
}

// each runs a subtest for each protocol on one pod.
func each(t *testing.T, p *pod, test func(*testing.T, *pod, protocol)) {
	for _, with := range protocols {
		t.Run(with.name, func(t *testing.T) {
			view := *p
			view.t = t
			test(t, &view, with)
		})
	}
}

func execStreams(t *testing.T, n *node) {
	p := n.run(t, id(t), `
containers: [{name: main, command: [sleep, "1000"]}]
`)
	p.running()
	each(t, p, func(t *testing.T, p *pod, with protocol) {
		var out, errs bytes.Buffer
		query := url.Values{"command": {"sh", "-c", "cat; echo bad >&2; exit 7"}, "input": {"1"}, "output": {"1"}, "error": {"1"}}
		options := remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: &errs}
		err := p.stream(with, p.streamURL("exec", "main", query), options)
		var exit clientexec.CodeExitError
		if !errors.As(err, &exit) || exit.Code != 7 {
			t.Errorf("exec: %v, want exit code 7", err)
		}
		if out.String() != "hello" || errs.String() != "bad\n" {
			t.Errorf("stdout %q, stderr %q", &out, &errs)
		}
		execLarge(t, p, with)
		execTerminal(t, p, with)
	})
}

// execLarge checks repeatedly that large output arrives completely.
func execLarge(t *testing.T, p *pod, with protocol) {
	const size = 1 << 20
	for range 10 {
		var out bytes.Buffer
		query := url.Values{"command": {"head", "-c", fmt.Sprint(size), "/dev/zero"}, "output": {"1"}}
		if err := p.stream(with, p.streamURL("exec", "main", query), remotecommand.StreamOptions{Stdout: &out}); err != nil {
			t.Error(err)
		}
		if out.Len() != size {
			t.Errorf("got %d bytes of %d", out.Len(), size)
		}
	}
}

// oneSize is the size queue of a terminal that is resized once.
type oneSize chan remotecommand.TerminalSize

func (s oneSize) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

func execTerminal(t *testing.T, p *pod, with protocol) {
	var out bytes.Buffer
	sizes := make(oneSize, 1)
	sizes <- remotecommand.TerminalSize{Width: 99, Height: 33}
	close(sizes)
	script := `until [ "$(stty size 2>/dev/null)" = "33 99" ]; do sleep 0.1; done; tty`
	query := url.Values{"command": {"sh", "-c", script}, "input": {"1"}, "output": {"1"}, "tty": {"1"}}
	options := remotecommand.StreamOptions{Stdin: silent{t.Context().Done()}, Stdout: &out, Tty: true, TerminalSizeQueue: sizes}
	if err := p.stream(with, p.streamURL("exec", "main", query), options); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(out.String(), "/dev/pts/") {
		t.Errorf("terminal %q", &out)
	}
}

// silent is an input without data.
type silent struct{ done <-chan struct{} }

func (s silent) Read([]byte) (int, error) {
	<-s.done
	return 0, errors.New("closed")
}

func attachStreams(t *testing.T, n *node) {
	p := n.run(t, id(t), `
restartPolicy: Never
containers:
- {name: websocket, command: [cat], stdin: true, stdinOnce: true}
- {name: spdy, command: [cat], stdin: true, stdinOnce: true}
`)
	p.running()
	each(t, p, func(t *testing.T, p *pod, with protocol) {
		var out bytes.Buffer
		query := url.Values{"input": {"1"}, "output": {"1"}}
		options := remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out}
		if err := p.stream(with, p.streamURL("attach", with.name, query), options); err != nil {
			t.Error(err)
		}
		if out.String() != "hello" {
			t.Errorf("the attached client received %q", &out)
		}
		// stdinOnce: the container exits when its input is closed.
		if ended := p.terminated(with.name); ended.ExitCode != 0 {
			t.Errorf("state of cat: %+v", ended)
		}
		if got := p.log(with.name, ""); got != "hello" {
			t.Errorf("log: %q", got)
		}
	})
}

func portForward(t *testing.T, n *node) {
	p := n.run(t, id(t), `
containers:
- name: web
  image: `+image.Httpd+`
  readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1, timeoutSeconds: 60}
`)
	p.running()
	each(t, p, func(t *testing.T, p *pod, with protocol) {
		dialer, err := with.dialer(p.rest, p.streamURL("portForward", "", nil))
		if err != nil {
			t.Fatal(err)
		}
		stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:80"}, stop, ready, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- forwarder.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-ended:
			t.Fatal(err)
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			t.Fatal(err)
		}
		// Several requests, each on its own connection.
		for range 3 {
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if _, err := text.ReadFrom(answer.Body); err != nil || text.String() != "It works!\n" {
				t.Errorf("the forwarded port serves %q, %v", &text, err)
			}
			answer.Body.Close()
		}
		close(stop)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func containerLogs(t *testing.T, n *node) {
	p := n.run(t, id(t), `
restartPolicy: OnFailure
volumes: [{name: work, hostPath: {path: $DIR}}]
containers:
- name: main
  command: [sh, -c, "test -e /work/once || { touch /work/once; echo before; exit 1; }; echo one; echo two; until [ -e /work/go ]; do sleep 0.1; done; echo three"]
  volumeMounts: [{name: work, mountPath: /work}]
`)
	p.restarted("main")
	follow := make(chan string, 1)
	go func() {
		text, err := p.get(t.Context(), "/containerLogs/default/"+p.name+"/main?follow=true")
		follow <- fmt.Sprint(string(text), err)
	}()
	if err := n.until(t.Context(), func() error {
		if got := p.log("main", ""); got != "one\ntwo\n" {
			return fmt.Errorf("log: %q", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for query, want := range map[string]string{"?tailLines=1": "two\n", "?previous=true": "before\n"} {
		if got := p.log("main", query); got != want {
			t.Errorf("log with %s: %q, want %q", query, got, want)
		}
	}
	first, _, _ := strings.Cut(p.log("main", "?timestamps=true"), " ")
	if _, err := time.Parse(time.RFC3339Nano, first); err != nil {
		t.Error(err)
	}
	p.exec("main", "touch", "/work/go")
	if got, want := <-follow, "one\ntwo\nthree\n<nil>"; got != want {
		t.Errorf("log with follow: %q, want %q", got, want)
	}
}
