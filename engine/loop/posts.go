package loop

import (
	"sync"
	"sync/atomic"
)

// Task is work that may block: Run is called on a goroutine of its own, then
// Done on the loop, even if the engine is shutting down.
type Task interface {
	Run()
	Done(l *Loop)
}

// mailbox has messages from other goroutines.
type mailbox struct {
	mu    sync.Mutex
	tasks []Task // whose Run has returned
	funcs []func(*Loop)
	over  bool // the loop has ended: nothing is taken any more
	busy  int  // tasks whose Run has not returned
	idle  *sync.Cond

	some atomic.Bool // tasks or funcs has any: a turn without takes no lock
}

func (p *mailbox) init() { p.idle = sync.NewCond(&p.mu) }

// take takes what has come.
func (p *mailbox) take() (tasks []Task, funcs []func(*Loop)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tasks, funcs = p.tasks, p.funcs
	p.tasks, p.funcs = nil, nil
	p.some.Store(false)
	return tasks, funcs
}

func (p *mailbox) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// Go runs t.Run on a goroutine of its own, then t.Done on the loop.
func (l *Loop) Go(t Task) {
	l.posts.mu.Lock()
	l.posts.busy++
	l.posts.mu.Unlock()
	go func() {
		defer l.taskRan(t)
		t.Run()
	}()
}

// Await returns a function that makes done run on the loop, as a Task's Done does. It is
// to be called once, on any goroutine: the loop does not end before.
func (l *Loop) Await(done func(*Loop)) (ran func()) {
	l.posts.mu.Lock()
	defer l.posts.mu.Unlock()
	l.posts.busy++
	return func() { l.taskRan(awaited(done)) }
}

// awaited is a Task that runs elsewhere.
type awaited func(*Loop)

func (awaited) Run()           {}
func (f awaited) Done(l *Loop) { f(l) }

func (l *Loop) taskRan(t Task) {
	p := &l.posts
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.tasks = append(p.tasks, t)
	p.some.Store(true)
	if p.over {
		p.idle.Signal()
		return
	}
	l.driver.Wake()
}

// post runs f on the loop soon. It reports false if the loop has ended.
func (l *Loop) post(f func(*Loop)) bool {
	p := &l.posts
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.funcs = append(p.funcs, f)
	p.some.Store(true)
	l.driver.Wake()
	return true
}

func (l *Loop) runPosts() {
	if !l.posts.some.Load() {
		return
	}
	tasks, funcs := l.posts.take()
	for _, t := range tasks {
		l.Files.BeginRequest()
		t.Done(l)
	}
	for _, f := range funcs {
		f(l)
	}
}

// finishTasks takes no posts any more and waits for the tasks, and for those
// that they start when they are done.
func (l *Loop) finishTasks() {
	p := &l.posts
	p.mu.Lock()
	p.over = true
	for p.busy > 0 || len(p.tasks)+len(p.funcs) > 0 {
		for p.busy > 0 {
			p.idle.Wait()
		}
		p.mu.Unlock()
		l.runPosts()
		p.mu.Lock()
	}
	p.mu.Unlock()
}
