// Command demo shows what p2pd does: NODES nodes pull one image at the same
// instant, and a live picture tells where each one's bytes come from. At the
// end stand a table, the least time that any protocol could need, and how
// often the origin sent the image.
//
// As root every node is a network namespace with a containerd of its own, and
// one of them runs a container. Without root the nodes are processes on
// loopback addresses, the daemons hold the rates, and a small OCI client
// stands in for containerd. Nothing is left behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/p2pd/p2pd/e2e/lab"
)

func main() {
	lab.Main("demo", func(ctx context.Context) error { return run(ctx, os.Args[1:]) })
}

type options struct {
	lab.Shape
	size     lab.Size
	rootless bool
}

func parse(args []string) (options, error) {
	o := options{Shape: lab.Shape{NodeRate: 100e6, OriginRate: 200e6}, size: 200 << 20}
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.IntVar(&o.Nodes, "nodes", 8, "nodes that pull at once")
	f.TextVar(&o.size, "size", o.size, "bytes of the image")
	f.TextVar(&o.NodeRate, "node-rate", o.NodeRate, "rate of each node's link, both ways")
	f.TextVar(&o.OriginRate, "origin-rate", o.OriginRate, "rate of the origin's link")
	f.BoolVar(&o.rootless, "rootless", os.Geteuid() != 0, "no namespaces and no containerd")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.NodeRate == 0 || o.OriginRate == 0 {
		return o, errors.New("the demo compares with what links allow: give both rates")
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	programs, remove, err := lab.BuildOnce(ctx)
	if err != nil {
		return err
	}
	defer remove()
	l, err := lab.Open(ctx, lab.Config{Shape: o.Shape, Rootless: o.rootless, Programs: programs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return show(ctx, l, o)
}
