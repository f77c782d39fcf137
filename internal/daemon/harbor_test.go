package daemon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/daemon"
)

// harbor does what the P2P drivers of Harbor 2.16 do, and is as strict: success is
// any 2xx but 208, answers are JSON with an integer id and times that Go reads, and
// of a job's states it knows three. It asks without verifying certificates, as an
// instance that is marked insecure.
type harbor struct {
	endpoint, token string
	client          *http.Client
}

func newHarbor(endpoint, token string) *harbor {
	return &harbor{endpoint: strings.TrimSuffix(endpoint, "/"), token: token, client: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // as Harbor does
	}}
}

// harborStatus is what a driver reads of a job.
type harborStatus struct {
	ID      int       `json:"id"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
	State   string    `json:"state"`
	Result  struct {
		States []struct {
			Error   string `json:"error"`
			Results []struct {
				Cluster uint `json:"scheduler_cluster_id"`
				Success []struct {
					URL      string `json:"url"`
					Hostname string `json:"hostname"`
					IP       string `json:"ip"`
				} `json:"success_tasks"`
				Failure []struct {
					URL         string `json:"url"`
					Hostname    string `json:"hostname"`
					IP          string `json:"ip"`
					Description string `json:"description"`
				} `json:"failure_tasks"`
			} `json:"results"`
		} `json:"job_states"`
	} `json:"result"`
}

// call makes a request as Harbor's client does; its errors have what a user finds in
// the job's log.
func (h *harbor) call(ctx context.Context, method, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, h.endpoint+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	if h.token != "" {
		r.Header.Set("Authorization", "Bearer "+h.token)
	}
	res, err := h.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 || res.StatusCode == http.StatusAlreadyReported {
		return fmt.Errorf("%s %q error: %d %s", method, h.endpoint+path, res.StatusCode, answer)
	}
	return json.Unmarshal(answer, into)
}

func (h *harbor) healthy(ctx context.Context) error {
	return h.call(ctx, http.MethodGet, "/healthy", nil, &struct{}{})
}

// preheat creates a job, of which no more is read than its number.
func (h *harbor) preheat(ctx context.Context, url, pull, scope string) (int, error) {
	var st harborStatus
	err := h.call(ctx, http.MethodPost, "/oapi/v1/jobs", map[string]any{
		"type": "preheat",
		"args": map[string]any{
			"type": "image", "url": url, "tag": "", "filtered_query_params": "", "headers": map[string]string{"Authorization": "Bearer " + pull},
			"scope": scope, "concurrent_count": 0, "timeout": 0,
		},
		"scheduler_cluster_ids": nil,
	}, &st)
	if err == nil && (st.ID <= 0 || st.Created.IsZero()) {
		err = fmt.Errorf("id %d, created_at %v", st.ID, st.Created)
	}
	return st.ID, err
}

// progress asks until the job has ended. One failed poll fails the job.
func (h *harbor) progress(ctx context.Context, id int) (st harborStatus, err error) {
	for ctx.Err() == nil {
		st = harborStatus{}
		if err := h.call(ctx, http.MethodGet, "/oapi/v1/jobs/"+strconv.Itoa(id), nil, &st); err != nil {
			return st, err
		}
		switch st.State {
		case "SUCCESS":
			return st, nil
		case "FAILURE":
			var why []string
			for _, s := range st.Result.States {
				why = append(why, s.Error)
			}
			return st, fmt.Errorf("preheat failed: %s", strings.Join(why, ","))
		case "PENDING":
		default:
			return st, fmt.Errorf("unknown state: %q", st.State)
		}
		time.Sleep(20 * time.Millisecond) // Harbor: 10 s
	}
	return st, ctx.Err()
}

// certificate makes one for loopback that signs itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// harborOven is an oven that Harbor may ask, over TLS, with what is in a file.
func harborOven(t *testing.T, s *shop, nodes int) (*oven, *harbor, string) {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "preheat.token")
	cert, key := certificate(t)
	o := newOven(t, s, nodes, func(cfg *daemon.HubConfig) {
		cfg.Preheat.Listen, cfg.Preheat.TokenFile = "127.0.0.1:0", tokens
		cfg.Preheat.TLS = daemon.ServerTLS{CertFile: cert, KeyFile: key}
		cfg.Preheat.Rules = daemon.Rules{{Registry: shopHost, Repository: "prod/**"}}
	})
	token, err := os.ReadFile(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return o, newHarbor("https://"+o.hub.HooksAddr().String()+"/", strings.TrimSpace(string(token))), tokens
}

func manifestURL(repo string) string { return "http://" + shopHost + "/v2/" + repo + "/manifests/v1" }

// Harbor's driver tests the connection, has a private image brought to every node by
// its own token, and reads what became of it.
func TestHarborPreheats(t *testing.T) {
	s := newShop(t)
	img := s.push(t, "prod/app")
	pull := "a-token-to-pull"
	s.password.Store(&pull)
	o, h, tokens := harborOven(t, s, 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.healthy(ctx); err != nil {
		t.Fatal(err)
	}
	id, err := h.preheat(ctx, manifestURL("prod/app"), pull, "all_peers")
	if err != nil {
		t.Fatal(err)
	}
	st, err := h.progress(ctx, id)
	if err != nil || st.ID != id || st.Updated.Before(st.Created) {
		t.Fatalf("%+v, %v", st, err)
	}
	if r := st.Result.States[0].Results[0]; len(r.Success) != 3 || len(r.Failure) != 0 || r.Cluster == 0 || r.Success[0].IP != "127.0.0.1" ||
		!strings.HasPrefix(r.Success[0].URL, "https://"+shopHost+"/v2/prod/app/") {
		t.Errorf("results: %+v", r)
	}
	if got, most := s.blobs.Load(), bytesOf(t, img)*105/100; got > most {
		t.Errorf("the registry sent %d bytes of blobs, want at most %d", got, most)
	}
	id, err = h.preheat(ctx, manifestURL("prod/app"), "expired", "single_seed_peer")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = h.progress(ctx, id); err == nil || !strings.Contains(err.Error(), "token is expired") {
		t.Errorf("with an expired token: %v", err)
	}
	for _, secret := range []string{pull, "expired"} {
		var list api.PreheatList
		o.ask(t, http.MethodGet, "/preheats", nil, &list)
		if b, err := json.Marshal(list); err != nil || strings.Contains(string(b), `"`+secret) {
			t.Errorf("the list of jobs has a token: %s, %v", b, err)
		}
	}
	// The token is taken back, and another one given, while all runs.
	if err := os.WriteFile(tokens, []byte("# of the new Harbor\nanother-token-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.healthy(ctx); err == nil || !strings.Contains(err.Error(), `401 {"apiVersion"`) {
		t.Errorf("with the old token: %v", err)
	}
	h.token = "another-token-0123456789"
	if err := h.healthy(ctx); err != nil {
		t.Errorf("with the new one: %v", err)
	}
}

// A registry that is slow holds nobody up who asks for jobs, and what is asked for
// twice is one job. What is wrong is told where Harbor shows it.
func TestHarborAndASlowRegistry(t *testing.T) {
	s := newShop(t)
	s.push(t, "prod/app")
	o, h, _ := harborOven(t, s, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hangs := make(chan struct{})
	s.hangs.Store(&hangs)
	kraken := func() int {
		t.Helper()
		var answer struct {
			Jobs []int `json:"jobs"`
		}
		if err := h.call(ctx, http.MethodPost, "/registry/notifications", json.RawMessage(`{"Events":[{"Action":"push","Target":{
			"MediaType":"application/vnd.docker.distribution.manifest.v2+json","Repository":"prod/app","Url":"http://shop.test/v2/prod/app/manifests/v1","Tag":"v1"},
			"Request":null,"Actor":null}]}`), &answer); err != nil || len(answer.Jobs) != 1 {
			t.Fatalf("%+v, %v", answer, err)
		}
		return answer.Jobs[0]
	}
	id := kraken()
	if again := kraken(); again != id {
		t.Errorf("jobs %d and %d", id, again)
	}
	var st harborStatus
	if err := h.call(ctx, http.MethodGet, "/oapi/v1/jobs/"+strconv.Itoa(id), nil, &st); err != nil || st.State != "PENDING" {
		t.Errorf("while the registry hangs: %+v, %v", st, err)
	}
	close(hangs)
	if _, err := h.progress(ctx, id); err != nil {
		t.Error(err)
	}
	for url, want := range map[string]string{
		"https://evil.test/v2/prod/app/manifests/v1":       "403 ",
		"https://169.254.169.254/v2/latest/manifests/data": "403 ",
		"https://shop.test/v1/prod/app/manifests/v1":       "400 ",
	} {
		if _, err := h.preheat(ctx, url, "x", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := h.progress(ctx, id+1); err == nil || !strings.Contains(err.Error(), "404 ") {
		t.Errorf("a job that is not there: %v", err)
	}
	var list api.PreheatList
	if o.ask(t, http.MethodGet, "/preheats", nil, &list); len(list.Items) != 1 {
		t.Errorf("jobs: %+v", list.Items)
	}
}

// What cannot work is refused at the start, by its key.
func TestPreheatConfig(t *testing.T) {
	cert, key := certificate(t)
	for _, tt := range []struct {
		change func(*daemon.PreheatConfig)
		want   string
	}{
		{func(*daemon.PreheatConfig) {}, ""},
		{func(c *daemon.PreheatConfig) { c.Listen = "0.0.0.0:0" }, "preheat.listen"},
		{func(c *daemon.PreheatConfig) {
			c.Listen, c.TLS = "0.0.0.0:0", daemon.ServerTLS{CertFile: cert, KeyFile: key}
		}, ""},
		{func(c *daemon.PreheatConfig) { c.TLS.CertFile = cert }, "preheat.tls.certFile"},
		{func(c *daemon.PreheatConfig) { c.TokenFile = "" }, "preheat.tokenFile"},
		{func(c *daemon.PreheatConfig) { c.Registries = nil }, "preheat.registries"},
		{func(c *daemon.PreheatConfig) { c.Registries[0].Endpoint = "x" }, "preheat.registries[0].endpoint"},
		{func(c *daemon.PreheatConfig) { c.Clusters = daemon.Clusters{"one": {"a"}} }, "preheat.clusters"},
		{func(c *daemon.PreheatConfig) { c.Clusters = daemon.Clusters{"1": nil} }, "preheat.clusters"},
		{func(c *daemon.PreheatConfig) { c.Rules = daemon.Rules{{Tag: "["}} }, "preheat.rules[0]"},
		{func(c *daemon.PreheatConfig) { c.Rules = daemon.Rules{{}, {Selector: "gpu"}} }, "preheat.rules[1].selector"},
		{func(c *daemon.PreheatConfig) { *c = daemon.PreheatConfig{Rules: daemon.Rules{{}}} }, "preheat.listen"},
	} {
		cfg := daemon.DefaultHubConfig()
		cfg.Preheat = daemon.PreheatConfig{Registries: daemon.Registries{{Host: shopHost}}, Listen: "127.0.0.1:0", TokenFile: "token"}
		tt.change(&cfg.Preheat)
		err := cfg.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want+": ")) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	cfg := daemon.DefaultHubConfig()
	cfg.Listen, cfg.HTTP.Listen, cfg.Admin.Listen, cfg.Membership.Mode = "127.0.0.1:0", "127.0.0.1:0", "", "open"
	file := filepath.Join(t.TempDir(), "token")
	cfg.Preheat = daemon.PreheatConfig{Registries: daemon.Registries{{Host: shopHost}}, Listen: "127.0.0.1:0", TokenFile: file, TLS: daemon.ServerTLS{CertFile: key, KeyFile: cert}}
	if _, err := daemon.NewHub(cfg, "", logger(t)); err == nil || !strings.Contains(err.Error(), "preheat.tls") {
		t.Errorf("a key for a certificate: %v", err)
	}
	cfg.Preheat.TLS = daemon.ServerTLS{}
	if err := os.WriteFile(file, []byte("a-token-of-some-length\nshort\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.NewHub(cfg, "", logger(t)); err == nil || !strings.Contains(err.Error(), "line 2 has 5 characters") {
		t.Errorf("a short token: %v", err)
	}
}
