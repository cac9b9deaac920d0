//go:build linux

package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// otherClock stands before the functions by which a server reads the time of
// day. (libfaketime, which does so too, cannot start a Redis with jemalloc.)
const otherClock = `#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t ahead;

__attribute__((constructor)) static void begin(void) { ahead = atoll(getenv("REDISTEST_AHEAD")); }

int gettimeofday(struct timeval *tv, void *zone) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	tv->tv_sec = now.tv_sec + ahead;
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *to) {
	struct timeval tv;
	gettimeofday(&tv, NULL);
	if (to) *to = tv.tv_sec;
	return tv.tv_sec;
}
`

// SetClock sets how far ahead of the machine's the server's clock is from its
// next start on.
func (s *Server) SetClock(ahead time.Duration) {
	s.t.Helper()
	library := s.path("clock.so")
	if err := os.WriteFile(s.path("clock.c"), []byte(otherClock), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, s.path("clock.c")).CombinedOutput(); err != nil {
		s.t.Fatalf("compile another clock: %v; on Debian: apt-get install gcc libc6-dev\n%s", err, out)
	}
	s.env = []string{"LD_PRELOAD=" + library, fmt.Sprintf("REDISTEST_AHEAD=%d", int64(ahead.Seconds()))}
}
