package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/access"
	"github.com/p2pd/p2pd/internal/importer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// putTries and putPause are for blobs of which a download runs.
	putTries = 20
	putPause = 500 * time.Millisecond
	// answerWait is ample for an answer from this machine.
	answerWait = 10 * time.Second
	// maxComplaint is how much of the daemon's error is shown.
	maxComplaint = 1 << 10
)

// importCommand is p2pd import.
func importCommand(load func() (NodeConfig, error)) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "import ARCHIVE", Short: "Put an image from an archive into this node's store, and offer it to other nodes",
		Long: `import reads an archive of docker save or ctr images export, or an OCI layout, as a tar file (gzipped
or not), as a folder, or from stdin if ARCHIVE is "-", and puts its blobs into the store of the p2pd
that runs on this machine. Other nodes can then get them from here.

Importing grants no rights: a client may pull the image by digest if the registry that it names
allows it, or if access.modes has that registry as open. Name the registry and repository with
--name to be told how to pull it. The registry need not exist in mode open.

Exit codes: 0 done, 1 could not be done, 2 bad usage or configuration.`,
		Example: `  docker save app:1 | p2pd import -
  p2pd import app.tar --name images.internal/app`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			repo, err := parseRepo(name)
			if err != nil {
				return err
			}
			if err := runImport(cmd, cfg, args[0], repo); err != nil {
				return runError{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`registry/repository` under which the image is to be pulled")
	return cmd
}

// parseRepo takes --name, which may have a tag that does not matter.
func parseRepo(name string) (access.Repo, error) {
	if name == "" {
		return access.Repo{}, nil
	}
	host, repo, _ := strings.Cut(name, "/")
	repo, _, _ = strings.Cut(repo, "@")
	if i := strings.LastIndexByte(repo, ':'); i >= 0 {
		repo = repo[:i]
	}
	if repo == "" || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return access.Repo{}, fmt.Errorf("--name %q: write registry and repository, such as images.internal/app", name)
	}
	return repoOf(host, repo), nil
}

func runImport(cmd *cobra.Command, cfg NodeConfig, path string, repo access.Repo) error {
	a, err := importer.Open(path, cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer a.Close()
	c := newLocalClient(cfg.localSocket())
	var bytes, sent int64
	for i, b := range a.Blobs {
		began := time.Now()
		fresh, err := c.put(cmd.Context(), b)
		if err != nil {
			return fmt.Errorf("%s %s: %w", b.Kind, b.Digest, err)
		}
		what := "is there"
		if fresh {
			what = fmt.Sprintf("put in %.1f s", time.Since(began).Seconds())
			sent += b.Size
		}
		bytes += b.Size
		fmt.Fprintf(cmd.ErrOrStderr(), "%d/%d %s %s, %s: %s\n", i+1, len(a.Blobs), b.Kind, b.Digest.Short(), mebibytes(b.Size), what)
	}
	for _, img := range a.Images {
		tell(cmd.OutOrStdout(), img, repo)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d blobs, %s, of them %s new\n", len(a.Blobs), mebibytes(bytes), mebibytes(sent))
	if repo.Host != "" && cfg.Access.mode(repo.Host) != access.Open {
		fmt.Fprintf(cmd.ErrOrStderr(), "clients may pull it while %s says so; for a registry that does not exist, set access.modes: {%s: open} on all nodes\n", repo.Host, repo.Host)
	}
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// tell prints one image, by the reference that pulls it.
func tell(w io.Writer, img importer.Image, repo access.Repo) {
	ref := img.Digest.String()
	if repo.Host != "" {
		ref = repo.String() + "@" + ref
	}
	if img.Name != "" {
		ref += "  # " + img.Name
	}
	fmt.Fprintln(w, ref)
	for _, d := range img.Absent {
		fmt.Fprintf(w, "# not in the archive: %s, of another platform\n", d)
	}
}

// localClient speaks to the daemon of this machine.
type localClient struct {
	socket string
	http   *http.Client
}

func newLocalClient(socket string) localClient {
	return localClient{socket, &http.Client{Transport: &http.Transport{ //nolint:forbidigo // to this machine, and no registry
		ExpectContinueTimeout: answerWait,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket) //nolint:forbidigo // likewise
		},
	}}}
}

// put puts a blob into the daemon's store. It reports whether it was not there.
func (c localClient) put(ctx context.Context, b importer.Blob) (fresh bool, err error) {
	status, _, err := c.do(ctx, http.MethodHead, b.Digest, 0, http.NoBody)
	if err != nil || status == http.StatusOK {
		return false, err
	}
	for range putTries {
		body, err := b.Open()
		if err != nil {
			return false, err
		}
		status, complaint, err := c.do(ctx, http.MethodPut, b.Digest, b.Size, body)
		switch {
		case err != nil:
			return false, err
		case status == http.StatusOK || status == http.StatusCreated:
			return status == http.StatusCreated, nil
		case status != http.StatusConflict:
			return false, errors.New(complaint)
		}
		select { // a download of it runs, and may well end
		case <-time.After(putPause):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return false, errors.New("a download of it does not end; try again later")
}

func (c localClient) do(ctx context.Context, method string, d piece.Digest, size int64, body io.ReadCloser) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://p2pd/v1/blobs/"+d.String(), body)
	if err != nil {
		return 0, "", errors.Join(err, body.Close())
	}
	// What is refused is refused before it is sent, so that the reason is heard.
	req.Header.Set("Expect", "100-continue")
	if req.ContentLength = size; size == 0 {
		req.Body = http.NoBody
		defer body.Close()
	}
	res, err := c.http.Do(req)
	if err != nil {
		if _, refused := errors.AsType[*net.OpError](err); refused {
			err = fmt.Errorf("no p2pd answers at %s (%w); start it, as the same user, or name its socket with --local-socket", c.socket, err)
		}
		return 0, "", err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, maxComplaint))
	return res.StatusCode, strings.TrimSpace(string(said)), err
}
