package sim

// handler is something that happens at a time; kind says what.
type handler interface{ fire(kind uint8) }

// event is a handler's turn. Those of one time come in the order in which they
// were made.
type event struct {
	at   int64 // ns since the start
	seq  uint64
	h    handler
	kind uint8
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a heap of events in which each has four below it: flatter than the
// usual two, and so kinder to the cache.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) push(at int64, h handler, kind uint8) {
	q.seq++
	e := event{at, q.seq, h, kind}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

// pop takes the first event; false: there is none.
func (q *queue) pop() (event, bool) {
	if len(q.heap) == 0 {
		return event{}, false
	}
	first := q.heap[0]
	end := len(q.heap) - 1
	e := q.heap[end]
	q.heap[end] = event{}
	q.heap = q.heap[:end]
	if end > 0 {
		q.sink(e)
	}
	return first, true
}

// sink puts e in the place at the top, or further down where it belongs.
func (q *queue) sink(e event) {
	i := 0
	for {
		least := 4*i + 1
		if least >= len(q.heap) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(q.heap)); c++ {
			if q.heap[c].before(&q.heap[least]) {
				least = c
			}
		}
		if e.before(&q.heap[least]) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = e
}
