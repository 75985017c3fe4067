// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestParseAuth(t *testing.T) {
	for name, tc := range map[string]struct {
		auth *runtimeapi.AuthConfig
		want credentials
	}{
		"none":                     {nil, credentials{}},
		"empty":                    {&runtimeapi.AuthConfig{ServerAddress: "reg"}, credentials{}},
		"user and password":        {&runtimeapi.AuthConfig{Username: "u", Password: "p"}, credentials{username: "u", secret: "p"}},
		"user first":               {&runtimeapi.AuthConfig{Username: "u", Password: "p", Auth: b64("a:b"), IdentityToken: "i", RegistryToken: "r"}, credentials{username: "u", secret: "p"}},
		"user first, invalid auth": {&runtimeapi.AuthConfig{Username: "u", Password: "p", Auth: "%"}, credentials{username: "u", secret: "p"}},
		"auth":                     {&runtimeapi.AuthConfig{Auth: b64("a:b:c")}, credentials{username: "a", secret: "b:c"}},
		"auth padded":              {&runtimeapi.AuthConfig{Auth: b64("a:b\x00\x00")}, credentials{username: "a", secret: "b"}},
		"auth before token":        {&runtimeapi.AuthConfig{Auth: b64("a:b"), IdentityToken: "i"}, credentials{username: "a", secret: "b"}},
		"auth without a password, beside an identity token": {&runtimeapi.AuthConfig{Auth: b64("0000:"), Username: "0000", IdentityToken: "i"}, credentials{secret: "i"}},
		"identity token": {&runtimeapi.AuthConfig{IdentityToken: "i", RegistryToken: "r"}, credentials{secret: "i"}},
		"registry token": {&runtimeapi.AuthConfig{RegistryToken: "r"}, credentials{registryToken: "r"}},
		"server": {&runtimeapi.AuthConfig{Username: "u", Password: "p", ServerAddress: "https://Reg.test:5000/v2/"},
			credentials{server: "reg.test:5000", username: "u", secret: "p"}},
		"server without scheme": {&runtimeapi.AuthConfig{Username: "u", Password: "p", ServerAddress: "reg.test"},
			credentials{server: "reg.test", username: "u", secret: "p"}},
		"Docker Hub": {&runtimeapi.AuthConfig{Username: "u", Password: "p", ServerAddress: "https://index.docker.io/v1/"},
			credentials{server: "docker.io", username: "u", secret: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAuth(tc.auth)
			must(t, err)
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(credentials{})); d != "" {
				t.Errorf("credentials (-want +got):\n%s", d)
			}
		})
	}
}

func TestParseAuthErrorsKeepSecrets(t *testing.T) {
	const canary = "canary"
	for _, auth := range []*runtimeapi.AuthConfig{
		{Auth: canary + "%"},
		{Auth: b64(canary)},
		{ServerAddress: "https://user:" + canary + "@\x7f"},
		{ServerAddress: "https:///" + canary},
	} {
		_, err := parseAuth(auth)
		checkClass(t, err, errdefs.ErrInvalidArgument)
		if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), b64(canary))) {
			t.Errorf("error contains the secret: %v", err)
		}
	}
}

func TestCredentialsCoverTheirServer(t *testing.T) {
	for _, tc := range []struct {
		server, host string
		want         bool
	}{
		{"", "any.test", true},
		{"reg.test", "reg.test", true},
		{"reg.test", "REG.test", true},
		{"reg.test", "reg.test:5000", false},
		{"reg.test", "evil.test", false},
		{"reg.test", "reg.test.evil.test", false},
		{"docker.io", "registry-1.docker.io", true},
		{"docker.io", "mirror.test", false},
	} {
		c := credentials{server: tc.server, username: "u", secret: "p"}
		user, secret, err := c.forHost(tc.host)
		must(t, err)
		if got := user == "u" && secret == "p"; got != tc.want || c.covers(tc.host) != tc.want {
			t.Errorf("credentials for %q sent to %q: %v, want %v", tc.server, tc.host, got, tc.want)
		}
	}
}

func FuzzParseAuth(f *testing.F) {
	f.Add("user", "password", b64("a:b"), "https://reg.test/v1/", "identity", "registry")
	f.Add("", "", b64("nocolon"), "reg:5000", "", "")
	f.Add("", "", "%", "://", "", "t")
	f.Fuzz(func(t *testing.T, username, password, auth, server, identity, token string) {
		in := &runtimeapi.AuthConfig{
			Username: username, Password: password, Auth: auth,
			ServerAddress: server, IdentityToken: identity, RegistryToken: token,
		}
		c, err := parseAuth(in)
		if err != nil {
			checkClass(t, err, errdefs.ErrInvalidArgument)
			return
		}
		if c.secret != "" && c.registryToken != "" {
			t.Error("two kinds of credentials at once")
		}
		if server != "" && c.secret != "" && c.covers("evil.invalid:1") && canonicalHost(c.server) != "evil.invalid:1" {
			t.Errorf("credentials for %q may go to every host", server)
		}
		again, err := parseAuth(in)
		if err != nil || again.fingerprint() != c.fingerprint() {
			t.Error("fingerprint is not stable")
		}
	})
}

// guarded returns a fault with which a registry requires an Authorization header that ok accepts.
func guarded(challenge string, ok func(header string) bool) faultFunc {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !ok(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// newTokenServer serves the token "granted" to requests that ok accepts.
func newTokenServer(t *testing.T, ok func(*http.Request) bool) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ok(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"token":"granted","access_token":"granted"}`))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestPullAuthenticates(t *testing.T) {
	basic := func(header string) bool { return header == "Basic "+b64("user:secret") }
	tokens := newTokenServer(t, func(r *http.Request) bool {
		user, password, isBasic := r.BasicAuth()
		return isBasic && user == "user" && password == "secret" ||
			r.FormValue("username") == "user" && r.FormValue("password") == "secret" ||
			r.FormValue("refresh_token") == "identity"
	})
	bearer := `Bearer realm="` + tokens.URL + `/token",service="test"`
	granted := func(header string) bool { return header == "Bearer granted" }
	own := func(header string) bool { return header == "Bearer registry" }
	for name, tc := range map[string]struct {
		challenge string
		ok        func(string) bool
		auth      *runtimeapi.AuthConfig
		fails     bool
	}{
		"basic":                 {challenge: `Basic realm="x"`, ok: basic, auth: &runtimeapi.AuthConfig{Username: "user", Password: "secret"}},
		"basic auth":            {challenge: `Basic realm="x"`, ok: basic, auth: &runtimeapi.AuthConfig{Auth: b64("user:secret")}},
		"basic wrong password":  {challenge: `Basic realm="x"`, ok: basic, auth: &runtimeapi.AuthConfig{Username: "user", Password: "wrong"}, fails: true},
		"basic none":            {challenge: `Basic realm="x"`, ok: basic, fails: true},
		"bearer":                {challenge: bearer, ok: granted, auth: &runtimeapi.AuthConfig{Username: "user", Password: "secret"}},
		"bearer identity token": {challenge: bearer, ok: granted, auth: &runtimeapi.AuthConfig{IdentityToken: "identity"}},
		"bearer none":           {challenge: bearer, ok: granted, fails: true},
		"registry token":        {challenge: bearer, ok: own, auth: &runtimeapi.AuthConfig{RegistryToken: "registry"}},
		"registry token wrong":  {challenge: bearer, ok: own, auth: &runtimeapi.AuthConfig{RegistryToken: "wrong"}, fails: true},
		"other server":          {challenge: `Basic realm="x"`, ok: basic, auth: &runtimeapi.AuthConfig{Username: "user", Password: "secret", ServerAddress: "other.test"}, fails: true},
		"token, other server":   {challenge: bearer, ok: own, auth: &runtimeapi.AuthConfig{RegistryToken: "registry", ServerAddress: "other.test"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.add(t, "app:v1", newImage(t, 1, nil))
			reg.breakWith(guarded(tc.challenge, tc.ok))
			_, err := m.Pull(t.Context(), spec(ref), tc.auth, nil)
			if !tc.fails {
				must(t, err)
				return
			}
			checkClass(t, err, errdefs.ErrUnauthenticated)
			if err != nil && !strings.Contains(err.Error(), "imagePullSecrets") {
				t.Errorf("error should name imagePullSecrets: %v", err)
			}
			n.checkEmpty(t)
		})
	}
}

// TestPullWithCredentialsOfTheConfig checks that credentials of the config are used for pulls that
// bring none, and only for their host.
func TestPullWithCredentialsOfTheConfig(t *testing.T) {
	right, wrong := &runtimeapi.AuthConfig{Username: "user", Password: "secret"}, &runtimeapi.AuthConfig{Username: "user", Password: "wrong"}
	for name, tc := range map[string]struct {
		ofHost, ofPull *runtimeapi.AuthConfig
		elsewhere      bool // the credentials of the config are for another host
		fails          bool
	}{
		"config only":                   {ofHost: right},
		"empty credentials of the pull": {ofHost: right, ofPull: &runtimeapi.AuthConfig{}},
		"pull takes precedence, wrong":  {ofHost: right, ofPull: wrong, fails: true},
		"pull takes precedence":         {ofHost: wrong, ofPull: right},
		"config for another registry":   {ofHost: right, elsewhere: true, fails: true},
		"wrong config":                  {ofHost: wrong, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			host, _, _ := strings.Cut(reg.ref(""), "/")
			if tc.elsewhere {
				host = "other.test"
			}
			m := n.start(t, Options{Registries: Registries{Credentials: map[string]*runtimeapi.AuthConfig{host: tc.ofHost}}})
			ref := reg.add(t, "app:v1", newImage(t, 1, nil))
			reg.breakWith(guarded(`Basic realm="x"`, func(header string) bool { return header == "Basic "+b64("user:secret") }))
			_, err := m.Pull(t.Context(), spec(ref), tc.ofPull, nil)
			if !tc.fails {
				must(t, err)
				return
			}
			checkClass(t, err, errdefs.ErrUnauthenticated)
		})
	}
}

// TestPullKeepsCredentialsFromOtherHosts redirects the request for a layer to another host, which
// must receive no credentials (CVE-2020-15157).
func TestPullKeepsCredentialsFromOtherHosts(t *testing.T) {
	for name, auth := range map[string]*runtimeapi.AuthConfig{
		"password":       {Username: "user", Password: "secret"},
		"registry token": {RegistryToken: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.add(t, "app:v1", newImage(t, 1, nil))
			var leaks, visits atomic.Int64
			evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				visits.Add(1)
				if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
					leaks.Add(1)
				}
				reg.next.ServeHTTP(w, r)
			}))
			t.Cleanup(evil.Close)
			other, err := url.Parse(evil.URL)
			must(t, err)
			other.Host = "localhost:" + other.Port()
			reg.breakWith(guarded(`Basic realm="x"`, func(h string) bool { return h != "" }))
			guard := *reg.fault.Load()
			reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				guard(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/blobs/") {
						http.Redirect(w, r, other.String()+r.URL.Path, http.StatusTemporaryRedirect)
						return
					}
					next.ServeHTTP(w, r)
				}))
			})
			_, err = m.Pull(t.Context(), spec(ref), auth, nil)
			must(t, err)
			if visits.Load() == 0 || leaks.Load() > 0 {
				t.Errorf("%d requests to the other host, %d with credentials", visits.Load(), leaks.Load())
			}
		})
	}
}

// TestPullErrorsKeepSecrets uses a registry and a token server that return the credentials in their
// error, and storage behind the registry that fails under a signed URL. The error of the pull must
// contain no secret.
func TestPullErrorsKeepSecrets(t *testing.T) {
	const canary = "c4n/ry+s3cret"
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got := r.Header.Get("Authorization") + " " + r.Form.Encode() + " " + r.FormValue("password") + r.FormValue("refresh_token")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"` + strings.ReplaceAll(got, `"`, "") + `"}]}`))
	}
	tokens := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(tokens.Close)
	signed := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://user:"+canary+"@127.0.0.1:1/blob?X-Signature="+url.QueryEscape(canary), http.StatusTemporaryRedirect)
	}
	faults := map[string]faultFunc{
		"basic": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			guarded(`Basic realm="x"`, func(h string) bool { return h != "" })(w, r, http.HandlerFunc(echo))
		},
		"bearer":  guarded(`Bearer realm="`+tokens.URL+`",service="s"`, func(string) bool { return false }),
		"storage": signed,
	}
	auths := map[string]*runtimeapi.AuthConfig{
		"password": {Username: "user", Password: canary},
		"auth":     {Auth: b64("user:" + canary)},
		"identity": {IdentityToken: canary},
		"registry": {RegistryToken: canary},
	}
	forms := []string{canary, url.QueryEscape(canary), b64(canary), b64("user:" + canary), b64(":" + canary)}
	for fault, f := range faults {
		for kind, auth := range auths {
			t.Run(fault+" "+kind, func(t *testing.T) {
				n, reg := newNode(t), newRegistry(t)
				m := n.start(t, Options{})
				reg.breakWith(f)
				_, err := m.Pull(t.Context(), spec(reg.ref("app:v1")), auth, nil)
				if err == nil {
					t.Fatal("pull succeeded")
				}
				for _, form := range forms {
					if strings.Contains(err.Error(), form) {
						t.Errorf("error contains the secret as %q: %v", form, err)
					}
				}
			})
		}
	}
}

func TestCleanText(t *testing.T) {
	for text, want := range map[string]string{
		`Get "https://u:p@s3.test/blob?X-Amz-Signature=abc": EOF`: `Get "https://s3.test/blob": EOF`,
		"http://reg.test/v2/?token=abc failed":                    "http://reg.test/v2/ failed",
		"token secret, again secret":                              "token [redacted], again [redacted]",
		"https://reg.test/secret?x=secret":                        "https://reg.test/[redacted]",
		"one\ntwo\x1b[31m":                                        "one two [31m",
		"what?":                                                   "what?",
	} {
		if got := cleanText(text, []string{"secret"}); got != want {
			t.Errorf("cleanText(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestTokenAuthorizer(t *testing.T) {
	a := &tokenAuthorizer{creds: credentials{registryToken: "token"}, origin: "reg.test"}
	send := func(host string) *http.Request {
		req := httptest.NewRequest(http.MethodGet, "https://"+host+"/v2/", nil)
		must(t, a.Authorize(t.Context(), req))
		return req
	}
	answer := func(req *http.Request) error {
		return a.AddResponses(t.Context(), []*http.Response{{Request: req}})
	}
	first := send("reg.test")
	if got := first.Header.Get("Authorization"); got != "" {
		t.Errorf("token sent without a challenge: %q", got)
	}
	must(t, answer(first))
	second := send("reg.test")
	if got := second.Header.Get("Authorization"); got != "Bearer token" {
		t.Errorf("Authorization after a challenge is %q", got)
	}
	checkClass(t, answer(second), docker.ErrInvalidAuthorization)
	other := send("other.test")
	checkClass(t, answer(other), errdefs.ErrNotImplemented)
	if got := send("other.test").Header.Get("Authorization"); got != "" {
		t.Errorf("another host received %q", got)
	}
}

func FuzzCleanText(f *testing.F) {
	f.Add("Get \"https://u:p@h/x?sig=abc\": dial tcp", "secret")
	f.Add("a secret b", "secret")
	f.Fuzz(func(t *testing.T, text, secret string) {
		if secret == "" || strings.Contains("[redacted]…", secret) || strings.ContainsFunc(secret, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			t.Skip("not a possible value of a header")
		}
		got := cleanText(text, []string{secret})
		if strings.Contains(strings.ReplaceAll(got, "[redacted]", ""), secret) && !strings.Contains(strings.ReplaceAll(text, secret, ""), secret) {
			t.Errorf("secret %q is still in %q", secret, got)
		}
		if len(got) > maxErrorText+len("…") {
			t.Errorf("%d bytes", len(got))
		}
		if strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Errorf("control characters in %q", got)
		}
	})
}
