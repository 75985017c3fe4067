// SPDX-License-Identifier: Apache-2.0

package evilreg

import "net/http"

// Redirect redirects the client to another address.
func Redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, to, http.StatusTemporaryRedirect) }
}

// Challenge always asks for credentials with a WWW-Authenticate header.
func Challenge(header string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", header)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
	}
}

// Challenged asks for credentials, and passes requests that have some to next.
func Challenged(header string, next http.HandlerFunc) http.HandlerFunc {
	ask := Challenge(header)
	return func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") == "" {
			ask(w, q)
			return
		}
		next(w, q)
	}
}

// JSON answers with a document of a media type.
func JSON(mediaType string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { serve(w, blob{mediaType, content}) }
}

// Claims answers HEAD with the headers of a small document and GET with an endless body.
func Claims(mediaType, digest, size string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", digest)
		if q.Method == http.MethodHead {
			w.Header().Set("Content-Length", size)
			return
		}
		Endless(w, q)
	}
}

// Endless writes until the client disconnects, at most 8 GiB.
func Endless(w http.ResponseWriter, _ *http.Request) {
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = ' '
	}
	for range 8 << 10 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
