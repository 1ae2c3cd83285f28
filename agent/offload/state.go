package offload

import (
	"fmt"
	"time"

	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/agent/retry"
)

// State says in a word what becomes of a recording. The values are what the
// page, the status and "lenscast queue" show.
//
//	             finished, and at every start
//	                       │
//	                       ▼
//	    opens         ┌─────────┐  its turn  ┌─────────┐  confirmed   ┌───────────┐
//	┌────────────────►│ waiting │───────────►│ sending │─────────────►│ confirmed │
//	│                 └─────────┘            └─────────┘              └───────────┘
//	│ closes           │   ▲  ▲               │ │  │ ▲                  │
//	│  ┌──────┐        │   │  └── cut off ────┘ │  │ │ the pause        │ marked in the
//	└──│ held │◄───────┘   │      by a rule     │  │ │ is over          │ archive: out of
//	   └──────┘            │                    │  ▼ │                  ▼ the queue
//	                       │  only a person     │ ┌──────────┐
//	    somebody says      │  can cure it       │ │ retrying │
//	    "again"            │  ┌────────┐        │ └──────────┘
//	                       └──│ failed │◄───────┘
//	                          └────────┘
//
// A recording that is deleted or dropped leaves the queue from any state. A
// State is what held when it was asked for.
type State string

// The states of a recording, and of the queue, which has that of the recording
// whose turn it is.
const (
	Idle      State = "idle"      // of the queue: nothing is to be sent
	Waiting   State = "waiting"   // for its turn
	Held      State = "held"      // by a rule, which the reason tells
	Sending   State = "sending"   // now
	Retrying  State = "retrying"  // it did not work and is tried again by itself
	Failed    State = "failed"    // it is tried again when somebody says so
	Confirmed State = "confirmed" // the server has it, the mark is being made
)

// entry is a recording in the queue. Everything but Recording is guarded by the
// mutex of the queue.
type entry struct {
	Recording
	state      State // all but Idle and Held, which follows from the queue's
	reason     string
	tries      int
	mismatches int            // times that the digest was wrong
	next       time.Time      // not before; zero: any time
	backoff    *retry.Backoff // for what is wrong with this recording
}

func newEntry(r Recording) *entry {
	return &entry{Recording: r, state: Waiting, backoff: retry.New(entryRetry)}
}

// again lets it be tried at once.
func (e *entry) again() {
	if e.state == Failed || e.state == Retrying {
		e.state = Waiting
	}
	e.next, e.mismatches = time.Time{}, 0
	e.backoff.Reset()
}

// Item is a recording in the queue as people see it.
type Item struct {
	ID      string    `json:"id"`
	Camera  string    `json:"camera"`
	Size    int64     `json:"size"` // bytes
	Sent    int64     `json:"sent"` // bytes of it at the server, while it is sent
	State   State     `json:"state"`
	Reason  string    `json:"reason"` // of the state, or of the last failure; may be empty
	Since   time.Time `json:"since"`  // when it was finished, by a clock that may have been wrong
	Tries   int       `json:"tries"`
	NextTry time.Time `json:"next_try,omitzero"`
}

// Status is what a queue does at one instant.
type Status struct {
	State  State
	Reason string // of the state, for people
	Server string // that is in use, or was tried last

	Waiting int   // recordings to be sent, the current one included
	Bytes   int64 // of them, still to be sent
	Failed  int   // of them, that wait for a person

	Recording   string        // the ID of the current one, empty without one
	Size        int64         // bytes of it
	Sent        int64         // bytes of it, those of earlier attempts included
	Rate        float64       // bit/s, over the last seconds
	Left        time.Duration // for all that waits at that rate; 0: unknown
	Limit       string        // what limits the connection, in words
	Yield       yield.Status
	Recordings  uint64    // confirmed since the start
	BytesSent   uint64    // of them
	LastSuccess time.Time // when one was confirmed; zero: not yet

	Problem string // what somebody should look after, empty when all is well
}

// Items lists the queue in the order in which it is sent.
func (q *Queue) Items() []Item {
	q.refresh()
	q.mu.Lock()
	defer q.mu.Unlock()
	items := make([]Item, 0, len(q.entries))
	for i := range q.entries {
		e := q.entries[i]
		if q.p.NewestFirst {
			e = q.entries[len(q.entries)-1-i]
		}
		item := Item{
			ID: e.ID, Camera: e.Camera, Size: e.Size, State: e.state, Reason: e.reason,
			Since: e.Ended, Tries: e.tries, NextTry: e.next,
		}
		switch {
		case q.current != nil && q.current.entry == e:
			item.Sent = q.current.progress.Sent
		case q.held != "" && e.state != Failed:
			item.State, item.Reason, item.NextTry = Held, q.held, time.Time{}
		case e.state == Retrying && item.NextTry.Before(q.soonest()):
			item.NextTry = q.soonest()
		case e.state == Waiting:
			item.Reason = q.noServer()
		}
		items = append(items, item)
	}
	return items
}

// soonest returns when a server may be tried again. The caller holds the mutex.
func (q *Queue) soonest() time.Time {
	soonest := q.servers[0].until
	for _, s := range q.servers[1:] {
		if s.until.Before(soonest) {
			soonest = s.until
		}
	}
	return soonest
}

// Status returns what the queue does now. It may be called at any time.
func (q *Queue) Status() Status {
	q.refresh()
	q.mu.Lock()
	defer q.mu.Unlock()
	st := Status{
		State: Idle, Server: q.tried.params.Address, Waiting: len(q.entries),
		Recordings: q.totals.recordings, BytesSent: q.totals.bytes, LastSuccess: q.totals.last,
	}
	for _, e := range q.entries {
		st.Bytes += e.Size
		if e.state == Failed {
			st.Failed++
			st.Problem = "a recording can't be offloaded: " + e.reason
		}
	}
	if st.Failed > 1 {
		st.Problem = fmt.Sprintf("%d recordings can't be offloaded, see: lenscast queue", st.Failed)
	}
	for _, s := range q.servers {
		if s.refused || s.reason != "" && time.Since(s.since) > outage {
			st.Problem = "offload: " + s.reason
		}
	}
	q.state(&st)
	if c := q.current; c != nil {
		st.Recording, st.Size, st.Sent, st.Rate = c.entry.ID, c.entry.Size, c.progress.Sent, c.rate
		st.Bytes -= c.progress.Sent
		if c.rate > 0 {
			st.Left = time.Duration(float64(st.Bytes) * 8 / c.rate * float64(time.Second))
		}
	}
	if q.link != nil {
		st.Yield = q.link.pace.Status()
		if info, ok := q.link.sender.TCPInfo(); ok {
			st.Limit = info.Limit()
		}
	}
	return st
}

// state fills in what the queue as a whole does. The caller holds the mutex.
func (q *Queue) state(st *Status) {
	switch {
	case len(q.entries) == 0:
	case q.current != nil:
		st.State = q.current.entry.state
		st.Reason = q.current.entry.reason
	case st.Failed == len(q.entries):
		st.State, st.Reason = Failed, st.Problem
	case q.held != "":
		st.State, st.Reason = Held, q.held
	default:
		st.State = Waiting
		if st.Reason = q.noServer(); st.Reason != "" {
			st.State = Retrying
		}
	}
}

// noServer tells why there is no server that works: what is wrong with the
// first. It is empty when there is one. The caller holds the mutex.
func (q *Queue) noServer() string {
	for _, s := range q.servers {
		if s.reason == "" {
			return ""
		}
	}
	return q.servers[0].reason
}
