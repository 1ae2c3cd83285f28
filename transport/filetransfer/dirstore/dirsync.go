package dirstore

import "sync"

// dirSyncs lets those who want the names in a folder durable at the same time
// share one sync of it: with many small files on their way it is most of what
// the disk does.
type dirSyncs struct {
	mu   sync.Mutex
	next map[string]*dirSync // not begun: whoever comes now is served by it
	last map[string]*dirSync // begun
}

// dirSync is one sync of a folder.
type dirSync struct {
	done chan struct{} // closed when it is over
	err  error         // valid then
}

func newDirSyncs() *dirSyncs {
	return &dirSyncs{next: make(map[string]*dirSync), last: make(map[string]*dirSync)}
}

// sync makes the names durable that are in the folder dir now. It waits for the
// sync in progress, which may have begun too early for them.
func (s *dirSyncs) sync(fsys FS, dir string) error {
	s.mu.Lock()
	if next := s.next[dir]; next != nil {
		s.mu.Unlock()
		<-next.done
		return next.err
	}
	mine := &dirSync{done: make(chan struct{})}
	before := s.last[dir]
	if before != nil {
		s.next[dir] = mine
		s.mu.Unlock()
		<-before.done
		s.mu.Lock()
		delete(s.next, dir)
	}
	s.last[dir] = mine
	s.mu.Unlock()

	mine.err = fsys.SyncDir(dir)
	s.mu.Lock()
	if s.last[dir] == mine {
		delete(s.last, dir)
	}
	s.mu.Unlock()
	close(mine.done)
	return mine.err
}
