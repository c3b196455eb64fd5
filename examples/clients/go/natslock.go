package main

// A natslock client for Go 1.19 and newer: one file to read and to copy; it needs nothing but nats.go.
//
//	locks, err := NewNatslock(nc, "default", "billing")
//	err = locks.WithLock(ctx, "orders.42", Options{TTL: 30 * time.Second, Wait: 10 * time.Second},
//		func(ctx context.Context, lease *Lease) error { // ctx ends when the lock is lost
//			return store.Write(ctx, order, lease.Token) // the store refuses lower tokens
//		})
//
// The lease is renewed in the background and given back when the function returns. The numbers in the comments are
// those of the README one folder up, which says what goes wrong without each part.

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// Forever is for Options.Wait: as long as it takes.
	Forever = 1000 * day

	day      = 24 * time.Hour
	patience = 5 * time.Second        // to go on for where nobody answers at all
	soon     = 100 * time.Millisecond // before a repeat to a leader that is about to appear, or just has
)

// ErrHeld says that others held the lock all the time.
var ErrHeld = errors.New("held by others")

// ErrNobody says that no coordinator answered.
var ErrNobody = errors.New("nobody leads: is a coordinator running?")

// Options say how to acquire a lock.
type Options struct {
	TTL  time.Duration // the lease time: 30 s where it is zero
	Wait time.Duration // zero is a try
}

// Lease is a lock that is held.
type Lease struct {
	Name     string
	Token    uint64 // higher than that of every earlier holder
	id       string // a secret: who knows it can release the lock
	ttl      time.Duration
	deadline atomic.Int64 // on the clock of now(); renewals put it off, zero when it is lost or given back
}

// IsValid is true while nobody else can hold the lock. It reads the clock, so it is right after a pause as well.
func (l *Lease) IsValid() bool { return now() < l.believedUntil() }

func (l *Lease) believedUntil() time.Duration { return time.Duration(l.deadline.Load()) }

// The part of all replies that a client needs.
type reply struct {
	Status, Code, Message string
	Epoch, Token          uint64
	WaitedMS              int64 `json:"waited_ms"`
	RetryAfterMS          int64 `json:"retry_after_ms"`
	Renewed               []string
	Lost                  []struct{ ID, Reason string }
}

func (r *reply) isNegative() bool {
	return len(r.Lost) > 0 || r.Status == "held" || r.Status == "timeout" || r.isGone()
}

func (r *reply) isGone() bool { return r.Code == "not_holder" || r.Code == "finished" }

func (r *reply) isPassing() bool {
	return r.Status == "nobody" || r.Status == "leader" || r.Code == "unavailable" || r.Code == "shutting_down"
}

// Natslock is the locks of one owner on one connection.
type Natslock struct {
	nc       *nats.Conn
	requests string // with two places to fill
	inbox    string
	releases sync.WaitGroup

	mu     sync.Mutex
	calls  map[string]*call // by reply subject
	number int
	epoch  uint64
}

// NewNatslock subscribes to an inbox and to the news of leaders.
func NewNatslock(nc *nats.Conn, namespace, owner string) (*Natslock, error) {
	requests := "natslock." + namespace + ".%s." + strings.ReplaceAll(encode(owner), ".", "=2E") + "%s"
	l := &Natslock{nc: nc, requests: requests, inbox: nc.NewInbox(), calls: map[string]*call{}}
	if _, err := nc.Subscribe(l.inbox+".*", l.onReply); err != nil {
		return nil, err
	}
	_, err := nc.Subscribe("natslock-event."+namespace+".leader.*", l.onLeader)
	return l, err
}

// WithLock does work under a lock, and returns what it returns. The end of ctx ends the waiting, and the context of the
// work, which ends when the lock is lost as well.
func (l *Natslock) WithLock(ctx context.Context, name string, o Options, work func(context.Context, *Lease) error) error {
	if o.TTL == 0 {
		o.TTL = 30 * time.Second
	}
	random := make([]byte, 16)
	if _, err := crand.Read(random); err != nil {
		return err
	}
	lease := &Lease{Name: encode(name), id: fmt.Sprintf("%x", random), ttl: o.TTL}
	if err := l.acquire(ctx, lease, o.Wait); err != nil {
		return err
	}
	working, lose := context.WithCancel(ctx)
	// The end of ctx tells the work to stop; the lock is kept until it has.
	done, finish := context.WithCancel(context.Background())
	released := make(chan struct{})
	l.releases.Add(1)
	go func() {
		defer l.releases.Done()
		defer close(released)
		l.keep(done, lease)
		lease.deadline.Store(0)
		lose()
		l.giveBack(lease)
	}()
	defer func() {
		held := lease.IsValid()
		finish()
		if held { // what is lost is being given back already
			<-released
		}
	}()
	return work(working, lease)
}

// Close waits until everything that was given up is given back. The connection stays open.
func (l *Natslock) Close() { l.releases.Wait() }

func (l *Natslock) acquire(ctx context.Context, lease *Lease, wait time.Duration) (err error) {
	began := now()
	until := began + wait
	call := l.call("acquire", "."+lease.Name, lease.ttl/3)
	defer func() {
		call.end()
		if err != nil && (len(call.order) > 1 || !errors.Is(err, ErrHeld)) {
			l.releases.Add(1) // what was sent is taken back (7)
			go func() { defer l.releases.Done(); l.giveBack(lease) }()
		}
	}()
	for giveUpAt := began + patience; now() < giveUpAt && !l.nc.IsClosed(); {
		left := clamp(until-now(), time.Millisecond, day)
		if wait == 0 {
			left = 0
		}
		body := fmt.Sprintf(`{"id":%q,"ttl_ms":%d,"wait_ms":%d,"progress":true}`,
			lease.id, lease.ttl.Milliseconds(), left.Milliseconds())
		sent, reply := call.turn(ctx, body, giveUpAt)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if call.heard {
			giveUpAt = until + patience
		}
		switch {
		case reply.Status == "granted":
			lease.Token = reply.Token
			lease.deadline.Store(int64(sent + (time.Duration(reply.WaitedMS)*time.Millisecond+lease.ttl)*99/100)) // (2)
			if lease.IsValid() {
				return nil
			}
			call.rest(0) // too late to be believed: a repeat renews it
		case reply.Status == "queued":
			call.rest(lease.ttl / 3)
		case reply.Status == "timeout" && wait >= Forever:
			call.rest(0)
		case reply.Status == "held" || reply.Status == "timeout":
			return fmt.Errorf("%s is %w", lease.Name, ErrHeld)
		case reply.Status == "error":
			return fmt.Errorf("%s: %s", reply.Code, reply.Message)
		}
	}
	return ErrNobody
}

// Renews the lease until it is lost or the work is done.
func (l *Natslock) keep(done context.Context, lease *Lease) {
	call := l.call("renew", "", lease.ttl/12)
	defer call.end()
	call.rest(lease.ttl / 3)
	body := fmt.Sprintf(`{"leases":[{"id":%q,"token":%d}]}`, lease.id, lease.Token)
	for lease.IsValid() && done.Err() == nil { // (6) lost at its own deadline, whatever the network does
		sent, reply := call.turn(done, body, lease.believedUntil())
		for _, lost := range reply.Lost {
			if lost.Reason != "unknown" {
				return
			}
		}
		if len(reply.Renewed) > 0 {
			if deadline := int64(sent + lease.ttl*99/100); deadline > lease.deadline.Load() {
				lease.deadline.Store(deadline)
			}
			call.rest(lease.ttl / 3)
		}
	}
}

// Repeats the release until it is answered, or the lease has ended by itself (7).
func (l *Natslock) giveBack(lease *Lease) {
	call := l.call("release", "."+lease.Name, lease.ttl)
	defer call.end()
	body := fmt.Sprintf(`{"id":%q}`, lease.id)
	if lease.Token > 0 {
		body = fmt.Sprintf(`{"id":%q,"token":%d}`, lease.id, lease.Token)
	}
	for until := now() + lease.ttl; now() < until && !l.nc.IsClosed(); {
		if _, reply := call.turn(context.Background(), body, until); reply.Status == "released" || reply.isGone() {
			return
		}
	}
}

func (l *Natslock) onReply(msg *nats.Msg) {
	answer := reply{Status: "nobody"} // (4) the server's own 503 is empty
	if len(msg.Data) > 0 && json.Unmarshal(msg.Data, &answer) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	call, known := l.calls[msg.Subject]
	if !known {
		return // (1) an answer to no known sending confers nothing
	}
	if answer.Epoch > l.epoch {
		l.epoch = answer.Epoch
	}
	if answer.Epoch < l.epoch && answer.isNegative() {
		return // (5) what a deposed leader denies, its successor may know better
	}
	call.hear(call.sent[msg.Subject], answer)
}

func (l *Natslock) onLeader(*nats.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := map[*call]bool{}
	for _, call := range l.calls {
		if !told[call] {
			told[call] = true
			call.hear(now(), reply{Status: "leader"}) // (8)
		}
	}
}

// One request, however often it is sent. Each sending has a reply subject and a time of its own (1).
type call struct {
	locks          *Natslock
	subject        string
	sendAt         time.Duration
	pause, longest time.Duration
	heard          bool // anything from a coordinator
	order          []string
	sent           map[string]time.Duration // under the lock of locks
	answers        chan answer
}

type answer struct {
	sent  time.Duration
	reply reply
}

func (l *Natslock) call(verb, name string, longest time.Duration) *call {
	return &call{
		locks:   l,
		subject: fmt.Sprintf(l.requests, verb, name),
		sendAt:  now(),
		pause:   500 * time.Millisecond,
		longest: longest,
		sent:    map[string]time.Duration{},
		answers: make(chan answer, 64),
	}
}

func (c *call) end() {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	for _, subject := range c.order {
		delete(c.locks.calls, subject)
	}
}

func (c *call) hear(sent time.Duration, reply reply) {
	select {
	case c.answers <- answer{sent, reply}:
	default: // nobody reads them: as good as lost on the way
	}
}

// rest says that there was an answer: nothing is to be sent for that long.
func (c *call) rest(pause time.Duration) {
	c.sendAt, c.pause = now()+jittered(pause, 0.8), 500*time.Millisecond
}

// turn sends if it is time to, waits for an answer, and returns it with the time of the sending it belongs to.
func (c *call) turn(ctx context.Context, body string, until time.Duration) (time.Duration, reply) {
	if now() >= c.sendAt {
		c.send(body)
	}
	for {
		left := clamp(c.sendAt, 0, until) - now()
		if left <= 0 {
			return now(), reply{}
		}
		timer := time.NewTimer(clamp(left, 0, time.Second)) // in slices, as timers may not count suspend
		select {
		case <-ctx.Done():
			timer.Stop()
			return now(), reply{}
		case <-timer.C:
		case answer := <-c.answers:
			timer.Stop()
			c.heard = c.heard || answer.reply.Epoch > 0
			if !answer.reply.isPassing() {
				return answer.sent, answer.reply
			}
			asked := time.Duration(answer.reply.RetryAfterMS) * time.Millisecond
			c.sendAt = now() + clamp(asked, jittered(soon, 0.5), 5*time.Second)
		}
	}
}

func (c *call) send(body string) {
	c.sendAt = now() + jittered(clamp(c.pause, 0, c.longest), 0.5)
	c.pause = clamp(c.pause*2, 0, 4*time.Second)
	c.locks.mu.Lock()
	c.locks.number++
	replyTo := fmt.Sprintf("%s.%d", c.locks.inbox, c.locks.number)
	if len(c.order) >= 32 { // the oldest is given up
		delete(c.sent, c.order[0])
		delete(c.locks.calls, c.order[0])
		c.order = c.order[1:]
	}
	c.order = append(c.order, replyTo)
	c.sent[replyTo] = now() // (2) before it leaves
	c.locks.calls[replyTo] = c
	c.locks.mu.Unlock()
	_ = c.locks.nc.PublishRequest(c.subject, replyTo, []byte(body)) // not sent is as good as lost on the way
}

var start = time.Now()

// The clock of all deadlines. It is monotonic, but stands still during suspend: README (2).
func now() time.Duration { return time.Since(start) }

// A lock's name as it stands in subjects.
func encode(name string) string {
	var encoded strings.Builder
	for _, b := range []byte(name) {
		plain := '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' || strings.IndexByte("._-/", b) >= 0
		if plain {
			encoded.WriteByte(b)
		} else {
			fmt.Fprintf(&encoded, "=%02X", b)
		}
	}
	return encoded.String()
}

func jittered(pause time.Duration, least float64) time.Duration {
	return time.Duration(float64(pause) * (least + rand.Float64()*(1-least)))
}

func clamp(span, least, most time.Duration) time.Duration {
	if span > most {
		span = most
	}
	if span < least {
		span = least
	}
	return span
}
