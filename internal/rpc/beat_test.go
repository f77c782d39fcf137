package rpc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answering is a connection that answers each call in its own way.
type answering func(ctx context.Context) error

func (a answering) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	return a(ctx)
}

func (answering) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams")
}

// A scheduler is given up once it does not answer, and not before, whatever it answers.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every, wait = 10 * time.Second, 4 * time.Second
		began := time.Now()
		answers := 0
		hang := answering(func(ctx context.Context) error {
			if answers++; answers <= 3 {
				return []error{nil, status.Error(codes.Unimplemented, "no such service"), status.Error(codes.Unavailable, "not well")}[answers-1]
			}
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		})
		dead := 0
		beat(t.Context(), hang, every, wait, func() { dead++ })
		if took := time.Since(began); dead != 1 || answers != 4 || took < 3*every+wait || took > 4*every+wait {
			t.Errorf("given up %d times, after %d questions and %v", dead, answers, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(every+wait/4, cancel) // the stream ends while the scheduler is asked
		beat(ctx, hang, every, wait, func() { t.Error("given up, though it was this peer that ended") })
	})
}
