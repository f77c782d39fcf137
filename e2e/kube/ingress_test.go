package kube_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// ingressPort is where nginx listens in the pod of the Ingress controller's namespace.
const ingressPort = "8080"

// ingress is the part of an Ingress that a controller makes a configuration of.
type ingress struct {
	Spec struct {
		Rules []struct {
			Host string `json:"host"`
			HTTP struct {
				Paths []struct {
					Path    string `json:"path"`
					Backend struct {
						Service struct {
							Name string `json:"name"`
							Port struct {
								Name string `json:"name"`
							} `json:"port"`
						} `json:"service"`
					} `json:"backend"`
				} `json:"paths"`
			} `json:"http"`
		} `json:"rules"`
	} `json:"spec"`
}

// ingress: nginx does what the Ingress says, as a controller has it do, in the network of
// a pod that is in the controller's namespace. The page comes under its name and no
// other, and its stream of events, though nginx holds answers back by default.
func (x *cluster) ingress(ctx context.Context, t *testing.T) {
	var rules ingress
	text, err := x.Kubectl(ctx, "-n", "p2pd", "get", "ingress/p2pd-page", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &rules); err != nil || len(rules.Spec.Rules) != 1 || len(rules.Spec.Rules[0].HTTP.Paths) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	host, path := rules.Spec.Rules[0].Host, rules.Spec.Rules[0].HTTP.Paths[0]
	service := "service/" + path.Backend.Service.Name
	to := net.JoinHostPort(x.get(ctx, t, service, "{.spec.clusterIP}"), x.get(ctx, t, service, `{.spec.ports[?(@.name=="`+path.Backend.Service.Port.Name+`")].port}`))
	client := x.nginx(ctx, t, fmt.Sprintf(`server { listen %[1]s default_server; return 404; }
server { listen %[1]s; server_name %[2]s; location %[3]s { proxy_pass http://%[4]s; proxy_set_header Host $host; } }
`, ingressPort, host, path.Path, to))
	ask := func(ctx context.Context, host, path, token string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s%s: %v", host, path, err)
		}
		return res
	}
	token := x.token(ctx, t, "p2pd-page")
	for _, one := range []struct {
		host, path, token string
		status            int
		want              string
	}{
		{host, "/ui/", "", http.StatusOK, "<title>p2pd</title>"},
		{host, "/api/v1/status", token, http.StatusOK, `"scheduler":{"peers":4`},
		{host, "/api/v1/status", "", http.StatusUnauthorized, "page.tokenFile"},
		{"other.example", "/ui/", "", http.StatusNotFound, "nginx"},
	} {
		res := ask(ctx, one.host, one.path, one.token)
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != one.status || !strings.Contains(string(body), one.want) {
			t.Errorf("%s%s: %d, %v, want %d and %q in:\n%s", one.host, one.path, res.StatusCode, err, one.status, one.want, body)
		}
	}
	// Two events of a stream that has no end.
	streaming, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	stream := ask(streaming, host, "/api/v1/events", token)
	defer stream.Body.Close()
	events := bufio.NewReader(stream.Body)
	for n := 0; n < 2; {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		if strings.HasPrefix(line, "data: ") && strings.Contains(line, `"kind":"Snapshot"`) {
			n++
		}
	}
}

// nginx serves with the given servers in the network of the pod ingress-nginx/client,
// until the lab ends, and returns a client whose every request goes there.
func (x *cluster) nginx(ctx context.Context, t *testing.T, servers string) *http.Client {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("%v: install it with scripts/install-deps.sh nginx", err)
	}
	dir := filepath.Join(x.Lab.Dir, "ingress")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("DIR", dir, "SERVERS", servers).Replace(`daemon off; master_process off; pid DIR/pid; error_log DIR/error.log;
events {}
http { access_log off; client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
SERVERS}
`)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, err := x.Kubectl(ctx, "-n", "ingress-nginx", "get", "pod/client", "-o", "jsonpath={.status.podIP} {.status.containerStatuses[0].containerID}")
	if err != nil {
		t.Fatal(err)
	}
	address, id, _ := strings.Cut(status, " containerd://")
	pid, err := x.Nodes[0].Task(ctx, x.Cluster, id)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := x.Lab.Start(x.Nodes[0].Place, lab.Spec{Name: "ingress", Args: []string{"nsenter", "--net=/proc/" + pid + "/ns/net", program, "-p", dir, "-c", conf}})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return x.Nodes[0].Place.Dial(ctx, "tcp", net.JoinHostPort(address, ingressPort))
	}
	if err := proc.WaitReady(ctx, func(ctx context.Context) error {
		c, err := dial(ctx, "", "")
		if err != nil {
			return err
		}
		return c.Close()
	}); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
