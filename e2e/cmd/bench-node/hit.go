package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// hitReads is how often each server sends the blob for one measurement: one
// transfer in memory is too short to be timed.
const hitReads = 5

// hit: a blob that is in p2pd's store, against nginx that has it as a file.
func (b *bench) hit(ctx context.Context) error {
	return b.inLab(ctx, 0, func(s *stage) error {
		if _, err := s.lab.StartSwarm(ctx); err != nil {
			return err
		}
		img, err := s.image(s.size, 1)
		if err != nil {
			return err
		}
		if _, err := s.through(0, img); err != nil {
			return err
		}
		layer := img.Blobs[len(img.Blobs)-1].Digest
		node := s.lab.Net.Nodes[0]
		web, err := s.nginx(ctx, node, s.lab.BlobFile(layer))
		if err != nil {
			return err
		}
		mirror := s.lab.MirrorURL(0) + "/v2/" + img.Repository + "/blobs/" + layer + "?ns=" + lab.RegistryHost
		var times, firsts pair // direct is nginx
		for range s.pairs {
			for _, to := range []struct {
				url          string
				times, first *[]float64
			}{{web, &times.direct, &firsts.direct}, {mirror, &times.through, &firsts.through}} {
				first, all, err := read(ctx, node, to.url, img.Blobs[len(img.Blobs)-1].Bytes)
				if err != nil {
					return err
				}
				*to.times, *to.first = append(*to.times, all), append(*to.first, first)
			}
		}
		b.figure("node.hit_over_nginx", median(times.direct)/median(times.through), "ratio")
		b.figure("node.hit_gib_per_s", float64(s.size)*hitReads/(1<<30)/median(times.through), "GiB/s")
		b.figure("node.added_first_byte_hit_ms", 1e3*(median(firsts.through)-median(firsts.direct)), "ms")
		return nil
	})
}

// read gets a URL some times over one connection. first is the first byte's
// time in the last answer, all that of everything.
func read(ctx context.Context, from lab.Place, url string, size int64) (first, all float64, err error) {
	transport := &http.Transport{DialContext: from.Dial, DisableCompression: true, ReadBufferSize: 256 << 10}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	buf := make([]byte, 1<<20)
	began := time.Now()
	for range hitReads {
		asked := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, 0, err
		}
		_, err = io.ReadFull(resp.Body, buf[:1])
		first = time.Since(asked).Seconds()
		n, copyErr := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
		_ = resp.Body.Close()
		if err != nil || copyErr != nil || resp.StatusCode != http.StatusOK || n != size-1 {
			return 0, 0, fmt.Errorf("%s: %s, %d of %d bytes: %w", url, resp.Status, n+1, size, copyErr)
		}
	}
	return first, time.Since(began).Seconds(), nil
}

// nginxPort is free on a node of the lab.
const nginxPort = 8088

// nginx serves one file on a node, with sendfile as p2pd does, and returns its
// URL. It ends with the lab.
func (s *stage) nginx(ctx context.Context, at lab.Place, file string) (url string, err error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return "", fmt.Errorf("%w: install it with scripts/install-deps.sh nginx", err)
	}
	dir := filepath.Join(s.lab.Dir, "nginx")
	if err := os.MkdirAll(filepath.Join(dir, "root"), 0o755); err != nil {
		return "", err
	}
	// A copy: the registry's folders need not be open to nginx's workers.
	if out, err := exec.CommandContext(ctx, "cp", file, filepath.Join(dir, "root", "blob")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy blob: %w: %s", err, out)
	}
	address := fmt.Sprintf("127.0.0.1:%d", nginxPort)
	conf := strings.NewReplacer("DIR", dir, "ADDRESS", address).Replace(`daemon off; master_process off; worker_processes 1;
pid DIR/pid; error_log DIR/error.log;
events {}
http { access_log off; sendfile on; tcp_nopush on; client_body_temp_path DIR/t1; proxy_temp_path DIR/t2;
  fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  server { listen ADDRESS; root DIR/root; } }
`)
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
		return "", err
	}
	proc, err := s.lab.Start(at, lab.Spec{Name: "nginx", Args: []string{program, "-p", dir, "-c", name}})
	if err != nil {
		return "", err
	}
	url = "http://" + address + "/blob"
	return url, proc.WaitReady(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
		if err != nil {
			return err
		}
		resp, err := at.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}
