package preheat

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, tt := range []struct {
		ask  api.PreheatRequest
		want Spec
	}{
		{api.PreheatRequest{Image: host + "/team/app:v1"}, Spec{Reference: "v1", Scope: "zone", Timeout: DefaultTimeout}},
		{api.PreheatRequest{Image: host + "/team/app"}, Spec{Reference: "latest", Scope: "zone", Timeout: DefaultTimeout}},
		{api.PreheatRequest{Image: host + "/team/app:v1", Nodes: []string{"b", "a"}, Timeout: "1h"}, Spec{Reference: "v1", Scope: "all", Nodes: []string{"a", "b"}, Timeout: time.Hour}},
		{api.PreheatRequest{Image: host + "/team/app:v1", Percentage: 5, Platforms: []string{"linux/arm64/v8"}}, Spec{Reference: "v1", Scope: "some", Percentage: 5, Platforms: []string{"linux/arm64/v8"}, Timeout: DefaultTimeout}},
		{api.PreheatRequest{Image: host + "/team/app:v1", Selector: "gpu,!spot "}, Spec{Reference: "v1", Scope: "all", Labelled: &Labelled{Selector: "gpu,!spot"}, Timeout: DefaultTimeout}},
		{api.PreheatRequest{Image: host + "/team/app:v1", Selector: "gpu", Count: 2}, Spec{Reference: "v1", Scope: "some", Count: 2, Labelled: &Labelled{Selector: "gpu"}, Timeout: DefaultTimeout}},
		{api.PreheatRequest{Image: host + "/team/app:v1", Into: "store"}, Spec{Reference: "v1", Scope: "zone", Timeout: DefaultTimeout}},
		{api.PreheatRequest{Image: host + "/team/app:v1", Into: "containerd"}, Spec{Reference: "v1", Scope: "zone", Into: "containerd", Timeout: DefaultTimeout}},
	} {
		tt.want.Registry, tt.want.Repository = host, "team/app"
		got, _, err := specOf(&tt.ask, w)
		if err != nil {
			t.Errorf("%+v: %v", tt.ask, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.ask, diff)
		}
	}
}

// Each complaint names what is wrong; none repeats a credential.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld()
	of := func(change func(*api.PreheatRequest)) api.PreheatRequest {
		r := api.PreheatRequest{Image: host + "/team/app:v1"}
		change(&r)
		return r
	}
	for _, tt := range []struct {
		ask  api.PreheatRequest
		code int
		want string
	}{
		{api.PreheatRequest{}, 400, "image"},
		{api.PreheatRequest{Image: host + "/Team App"}, 400, "image"},
		{api.PreheatRequest{Image: "evil.test/team/app:v1"}, 403, "evil.test"},
		{api.PreheatRequest{Image: "user@" + host + "/team/app:v1"}, 400, "image"},
		{of(func(r *api.PreheatRequest) { r.Scope = "some" }), 400, "count from 1"},
		{of(func(r *api.PreheatRequest) { r.Percentage = 101 }), 400, "percentage 101"},
		{of(func(r *api.PreheatRequest) { r.Percentage, r.Count = 1, 1 }), 400, "percentage"},
		{of(func(r *api.PreheatRequest) { r.Count = -1 }), 400, "count -1"},
		{of(func(r *api.PreheatRequest) { r.Scope, r.Count = "all", 1 }), 400, "scope all"},
		{of(func(r *api.PreheatRequest) { r.Scope = "most" }), 400, `"most"`},
		{of(func(r *api.PreheatRequest) { r.Platforms = []string{"amd64"} }), 400, `"amd64"`},
		{of(func(r *api.PreheatRequest) { r.Nodes = make([]string, maxNamed+1) }), 400, "names"},
		{of(func(r *api.PreheatRequest) { r.Nodes = []string{"gpu-[1"} }), 400, `"gpu-[1"`},
		{of(func(r *api.PreheatRequest) { r.Into = "docker" }), 400, `"docker"`},
		{of(func(r *api.PreheatRequest) { r.Into, r.Platforms = "containerd", []string{"linux/arm64"} }), 400, "platforms"},
		{of(func(r *api.PreheatRequest) {
			r.Into, r.Credential = "containerd", &api.PreheatCredential{Token: "hunter2"}
		}), 400, "takes no token"},
		{of(func(r *api.PreheatRequest) { r.Timeout = "1s" }), 400, `"1s"`},
		{of(func(r *api.PreheatRequest) { r.Timeout = "25h" }), 400, `"25h"`},
		{of(func(r *api.PreheatRequest) { r.Credential = &api.PreheatCredential{Username: "hunter2"} }), 400, "credential"},
		{of(func(r *api.PreheatRequest) { r.Credential = &api.PreheatCredential{Token: "hunter2\n"} }), 400, "token"},
		{of(func(r *api.PreheatRequest) {
			r.Credential = &api.PreheatCredential{Token: "hunter2", Username: "u", Password: "p"}
		}), 400, "credential"},
		{of(func(r *api.PreheatRequest) {
			r.Credential = &api.PreheatCredential{Token: strings.Repeat("hunter2", 2000)}
		}), 400, "bytes"},
	} {
		_, err := NewDesk(Config{Registries: w, Peers: w}).Create(t.Context(), tt.ask)
		e, ok := errors.AsType[*api.Error](err)
		if !ok || e.Status != tt.code || !strings.Contains(e.Error(), tt.want) || strings.Contains(e.Error(), "hunter2") {
			t.Errorf("%+v: %v, want %d about %s", tt.ask, err, tt.code, tt.want)
		}
	}
	open := NewDesk(Config{Registries: w, Peers: w, Clear: true})
	_, err := open.Create(t.Context(), of(func(r *api.PreheatRequest) { r.Credential = &api.PreheatCredential{Token: "hunter2"} }))
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != http.StatusForbidden || !strings.Contains(e.Error(), "in the clear") {
		t.Errorf("a credential for an open cluster: %v", err)
	}
}

// A manifest's URL stands for the name of an image, and for nothing else.
func TestImageOfURL(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := NewDesk(Config{Registries: w, Peers: w})
	digest := "sha256:" + strings.Repeat("1", 64)
	for text, want := range map[string]string{
		"https://registry.test/v2/team/app/manifests/v1":           host + "/team/app:v1",
		"https://registry.test/v2/team/a/b/c/manifests/" + digest:  host + "/team/a/b/c@" + digest,
		"http://plain.test/v2/team/app/manifests/v1":               plainOne + "/team/app:v1",
		"https://plain.test/v2/team/app/manifests/v1":              plainOne + "/team/app:v1",
		"http://registry.test/v2/team/app/manifests/v1":            "",
		"https://169.254.169.254/v2/latest/manifests/meta-data":    "",
		"https://user:pw@registry.test/v2/team/app/manifests/v1":   "",
		"https://registry.test/v2/team/app/blobs/" + digest:        "",
		"https://registry.test/v2/team/app/manifests/v1?x=1":       "",
		"https://registry.test/v2/team/app/manifests/v1#x":         "",
		"https://registry.test/v2/team%2Fapp/manifests/v1":         "",
		"https://registry.test/../v2/team/app/manifests/v1":        "",
		"https://registry.test@evil.test/v2/team/app/manifests/v1": "",
		"file:///v2/team/app/manifests/v1":                         "",
		"registry.test/team/app:v1":                                "",
		"":                                                         "",
	} {
		got, err := k.ImageOfURL(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}
