package kube_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
	"github.com/p2pd/p2pd/e2e/lab"
)

// clients are pods that are none of p2pd's, in namespaces that the guide names, in
// p2pd's own, and in another, there on each node.
func (x *cluster) clients(ctx context.Context, t *testing.T, img lab.Image) {
	t.Helper()
	var all strings.Builder
	pod := func(namespace, name, node string) {
		fmt.Fprintf(&all, `---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {app: client}}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: %q, command: [sleep, "1000000"]}]
`, name, namespace, node, img.Reference())
	}
	for _, namespace := range []string{"ingress-nginx", "harbor", "others"} {
		fmt.Fprintf(&all, "---\n{apiVersion: v1, kind: Namespace, metadata: {name: %s}}\n", namespace)
	}
	for _, namespace := range []string{"ingress-nginx", "harbor", kube.Namespace} {
		pod(namespace, "client", x.Nodes[0].Name)
	}
	for _, n := range x.Nodes[:nodes-1] { // the last is going to be replaced
		pod("others", "client-"+n.Name, n.Name)
	}
	if err := x.Apply(ctx, all.String()); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"ingress-nginx", "harbor", "others", kube.Namespace} {
		if _, err := x.Kubectl(ctx, "-n", namespace, "wait", "--for=condition=Ready", "pod", "-l", "app=client", "--timeout="+rollout); err != nil {
			t.Fatalf("%v\n%s", err, x.describe(ctx))
		}
	}
}

// from runs a shell in a client's pod.
func (x *cluster) from(ctx context.Context, namespace, pod, script string) (string, error) {
	return x.Kubectl(ctx, "-n", namespace, "exec", pod, "--", "sh", "-c", script)
}

// get is a value of an object, by a JSON path.
func (x *cluster) get(ctx context.Context, t *testing.T, object, path string) string {
	t.Helper()
	out, err := x.Kubectl(ctx, "-n", kube.Namespace, "get", object, "-o", "jsonpath="+path)
	if err != nil || out == "" {
		t.Fatalf("%s of %s: %q, %v", path, object, out, err)
	}
	return out
}

// token is what the guide has put into a Secret.
func (x *cluster) token(ctx context.Context, t *testing.T, secret string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(x.get(ctx, t, "secret/"+secret, "{.data.token}"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// page: who comes from the Ingress controller's namespace has the page, and with
// the token what it shows; nothing can be changed there.
func (x *cluster) page(ctx context.Context, t *testing.T) {
	x.change(t, "{capacity: 2GiB}", "{capacity: 2GiB}\n    limits: {upload: 60MB}")
	x.change(t, "containerd: {registries", "containerd: {unpack: true, registries")
	x.follow(ctx, t, x.guide.blocks["Install"][3])
	x.follow(ctx, t, x.guide.blocks["The live page"][0])
	if backend := x.get(ctx, t, "ingress/p2pd-page", "{.spec.rules[0].host} {.spec.rules[0].http.paths[0].backend.service.name}"); backend != "p2pd.corp.example p2pd-page" {
		t.Errorf("the Ingress leads %s", backend)
	}
	at := x.get(ctx, t, "service/p2pd-page", "{.spec.clusterIP}")
	with := "Authorization: Bearer " + x.token(ctx, t, "p2pd-page")
	for _, ask := range []struct{ request, header, status, want string }{
		{"GET /ui/", "", "200 OK", "<title>p2pd</title>"},
		{"GET /api/v1/status", with, "200 OK", `"scheduler":{"peers":4`},
		{"GET /api/v1/status", "", "401 Unauthorized", "page.tokenFile"},
		{"POST /api/v1/preheats", with, "403 Forbidden", "nothing can be changed here"},
	} {
		// busybox's wget looks for libraries that the image does not have. Who closes
		// its half of the connection has gone, to the server.
		out, err := x.from(ctx, "ingress-nginx", "client", fmt.Sprintf(`(echo "%s HTTP/1.0"; echo "%s"; echo; sleep 2) | busybox nc -w 5 %s 7314`, ask.request, ask.header, at))
		if err != nil || !strings.HasPrefix(out, "HTTP/1.0 "+ask.status) || !strings.Contains(out, ask.want) {
			t.Errorf("%s: %v, want %s and %q in:\n%s", ask.request, err, ask.status, ask.want, out)
		}
	}
}

// relay lets the client's pod of a namespace pass on what is sent to it, and returns
// how to reach a Service by it: from where the pod is, to the policies.
func (x *cluster) relay(ctx context.Context, t *testing.T, namespace, service string, port int) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	to := x.get(ctx, t, service, "{.spec.clusterIP}")
	if _, err := x.from(ctx, namespace, "client", fmt.Sprintf("busybox nc -ll -p %[1]d -e /bin/busybox nc %[2]s %[1]d </dev/null >/dev/null 2>&1 &", port, to)); err != nil {
		t.Fatal(err)
	}
	pod, err := x.Kubectl(ctx, "-n", namespace, "get", "pod/client", "-o", "jsonpath={.status.podIP}")
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return x.Nodes[0].Place.Dial(ctx, "tcp", net.JoinHostPort(pod, strconv.Itoa(port)))
	}
}

// heat: a job by the Service, as Harbor sends it, brings an image to all nodes;
// then it starts there without a byte from the registry.
func (x *cluster) heat(ctx context.Context, t *testing.T) {
	x.follow(ctx, t, x.guide.blocks["Preheats by Harbor"][0])
	cert, err := os.ReadFile(filepath.Join(x.guide.clone, "preheat.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: x.relay(ctx, t, "harbor", "service/p2pd-preheat", 7313), DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
	const at = "https://p2pd-preheat.p2pd.svc:7313/oapi/v1/jobs"
	token := x.token(ctx, t, "p2pd-preheat")
	var job struct {
		ID    int64  `json:"id"`
		State string `json:"state"`
	}
	ask := func(method, url, token, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(r)
		if err != nil {
			t.Fatalf("%v\n%s", err, x.describe(ctx))
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&job); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
		return res.StatusCode
	}
	img := x.push(ctx, t, "heated", 100<<20)
	want := fmt.Sprintf(`{"type":"preheat","args":{"type":"image","url":"http://%s/v2/%s/manifests/%s","scope":"all_peers"}}`, lab.RegistryHost, img.Repository, img.Tag)
	if status := ask(http.MethodPost, at, "not-the-token-of-this-cluster", want); status != http.StatusUnauthorized {
		t.Errorf("with another token: %d, want 401", status)
	}
	before := x.mark(ctx, t)
	if status := ask(http.MethodPost, at, token, want); status != http.StatusOK {
		t.Fatalf("a job: %d", status)
	}
	began := time.Now()
	for ; job.State == "PENDING" && time.Since(began) < 2*time.Minute; time.Sleep(time.Second) {
		ask(http.MethodGet, fmt.Sprint(at, "/", job.ID), token, "")
	}
	if job.State != "SUCCESS" {
		t.Fatalf("the job is %+v after %v\n%s", job, time.Since(began), x.describe(ctx))
	}
	copies := float64(x.since(ctx, t, before).BlobBytes) / float64(img.Bytes)
	after := x.mark(ctx, t)
	took := x.deploy(ctx, t, "heated", img)
	rest := x.since(ctx, t, after).BlobBytes
	t.Logf("a preheat of %d MiB: %.3f origin copies; then %d pods ran after %.1fs, with %d bytes from the registry", img.Bytes>>20, copies, nodes, took.Seconds(), rest)
	if copies < 0.9 || rest > 0 {
		t.Errorf("%.3f copies came from the registry for the preheat, and %d bytes after it; want all, then none", copies, rest)
	}
}
