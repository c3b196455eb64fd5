// Contending workers and a stale token. Against `natslock dev`: go run . [nats://127.0.0.1:4222]
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A resource that checks the fencing token: it refuses whoever is not the latest holder.
type store struct {
	sync.Mutex
	highest uint64
	rows    []string
}

func (s *store) write(row string, fence uint64) bool {
	s.Lock()
	defer s.Unlock()
	if fence < s.highest {
		return false
	}
	s.highest, s.rows = fence, append(s.rows, row)
	return true
}

func main() {
	url := nats.DefaultURL
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if err := demo(url); err != nil {
		log.Fatal(err)
	}
}

func demo(url string) error {
	// A short ping interval and reconnecting for ever: otherwise a dead connection goes unnoticed for minutes.
	nc, err := nats.Connect(url, nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	locks, err := NewNatslock(nc, "default", "demo@go")
	if err != nil {
		return err
	}
	defer locks.Close()

	var orders store
	tokens, errs := make(chan uint64, 3), make(chan error, 3)
	for number := 0; number < 3; number++ {
		number := number
		go func() {
			options := Options{TTL: 10 * time.Second, Wait: 10 * time.Second}
			errs <- locks.WithLock(context.Background(), "demo.orders", options, func(ctx context.Context, lease *Lease) error {
				orders.write(fmt.Sprintf("worker %d", number), lease.Token)
				fmt.Printf("worker %d holds %s with token %d\n", number, lease.Name, lease.Token)
				tokens <- lease.Token
				if !lease.IsValid() { // before each step that takes long
					return ctx.Err()
				}
				select {
				case <-time.After(200 * time.Millisecond):
				case <-ctx.Done():
				}
				return ctx.Err()
			})
		}()
	}
	for number := 0; number < 3; number++ {
		if err := <-errs; err != nil {
			return err
		}
	}
	first := <-tokens
	fmt.Printf("a late write with token %d is taken: %t\n", first, orders.write("late", first))

	return locks.WithLock(context.Background(), "demo.orders", Options{TTL: 10 * time.Second}, func(ctx context.Context, _ *Lease) error {
		err := locks.WithLock(ctx, "demo.orders", Options{}, func(context.Context, *Lease) error { return nil })
		if !errors.Is(err, ErrHeld) {
			return fmt.Errorf("a try did not find it held: %v", err)
		}
		fmt.Println("a try finds it held:", err)
		return nil
	})
}
