// Command images builds the container images of p2pd and the scheduler, for
// amd64 and arm64, and pushes them to a registry. It needs Go and nothing else:
// an image is one static binary, p2pctl, the authorities of the web, and two users.
// The same sources and authorities make the same digests.
//
//	go run ./deploy/images -repository registry.example/p2pd -tag 0.1.0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/p2pd/p2pd/deploy/build"
)

// programs are what there is an image of.
var programs = []program{
	{name: "p2pd", user: "0:0", about: "Peer-to-peer distribution of container images: the daemon of a node"},
	{name: "scheduler", user: "65532:65532", about: "Peer-to-peer distribution of container images: the scheduler"},
}

// caFiles are where distributions keep the authorities of the web.
var caFiles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

type options struct {
	repository, tag, ca string
	platforms           string
	plainHTTP           bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("images", flag.ContinueOnError)
	f.StringVar(&o.repository, "repository", "", "registry and path below which the images are pushed, for instance registry.example/p2pd")
	f.StringVar(&o.tag, "tag", "", "their tag")
	f.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "what to build for")
	f.StringVar(&o.ca, "ca", "", "PEM file of the authorities to trust; empty: this machine's")
	f.BoolVar(&o.plainHTTP, "plain-http", false, "speak HTTP to the registry")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.repository == "" || o.tag == "" {
		return errors.New("-repository and -tag are needed, for instance -repository registry.example/p2pd -tag 0.1.0")
	}
	ca, err := authorities(o.ca)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "p2pd-images-*")
	if err != nil {
		return fmt.Errorf("make work folder: %w", err)
	}
	defer os.RemoveAll(dir)
	for _, p := range programs {
		if err := push(ctx, out, o, p, ca, dir); err != nil {
			return fmt.Errorf("image of %s: %w", p.name, err)
		}
	}
	return nil
}

// authorities reads file, or the first of caFiles that there is.
func authorities(file string) ([]byte, error) {
	files := caFiles
	if file != "" {
		files = []string{file}
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("no authorities to trust in %s: install ca-certificates, or name a file by -ca", strings.Join(files, ", "))
}

// push makes one program's image and pushes it.
func push(ctx context.Context, out io.Writer, o options, p program, ca []byte, dir string) error {
	var nameOptions []name.Option
	if o.plainHTTP {
		nameOptions = append(nameOptions, name.Insecure)
	}
	ref, err := name.NewTag(o.repository+"/"+p.name+":"+o.tag, nameOptions...)
	if err != nil {
		return err
	}
	remoteOptions := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	var built []platformImage
	for platform := range strings.SplitSeq(o.platforms, ",") {
		binary := filepath.Join(dir, p.name+"-"+strings.ReplaceAll(platform, "/", "-"))
		if err := build.Compile(ctx, p.name, platform, binary); err != nil {
			return err
		}
		besides := filepath.Join(dir, tool.name+"-"+strings.ReplaceAll(platform, "/", "-"))
		if err := build.Compile(ctx, tool.name, platform, besides); err != nil {
			return err
		}
		image, err := p.image(platform, binary, besides, ca)
		if err != nil {
			return err
		}
		built = append(built, platformImage{platform, binary, besides, image})
	}
	index, err := p.index(built)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(ref, index, remoteOptions...); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	for _, b := range built {
		bill, err := b.bill(p, o.tag)
		if err != nil {
			return err
		}
		at, err := bill.Digest()
		if err != nil {
			return err
		}
		if err := remote.Write(ref.Context().Digest(at.String()), bill, remoteOptions...); err != nil {
			return fmt.Errorf("bill of materials: %w", err)
		}
	}
	_, err = fmt.Fprintf(out, "%s@%s\n", ref, digest)
	return err
}
