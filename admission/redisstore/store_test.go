package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
	"github.com/ropeline/ropeline/admission/redisstore"
)

type server struct {
	t      *testing.T
	dir    string
	port   int
	cmd    *exec.Cmd
	client *redis.Client
}

func startServer(t *testing.T) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	s.client = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.port)})
	s.start()
	t.Cleanup(func() { s.client.Close(); s.cmd.Process.Kill(); s.cmd.Wait() })
	return s
}

func (s *server) start() {
	s.cmd = exec.Command("redis-server", "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if s.client.Ping(context.Background()).Err() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("redis did not start")
}

const clockKey = "test:clock"

var shared *server

func openBench(t *testing.T) admissiontest.Bench {
	s := shared
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	set := func() { check(s.client.Set(ctx, clockKey, now.UnixMicro(), 0).Err()) }
	check(s.client.FlushAll(ctx).Err())
	set()
	store := redisstore.NewAt(s.client, clockKey)
	return admissiontest.Bench{
		Store:   func() admission.Store { return store },
		Advance: func(d time.Duration) { now = now.Add(d); set() },
		Lose:    func() { check(s.client.FlushAll(ctx).Err()); set() },
		Crash: func() {
			s.cmd.Process.Kill()
			s.cmd.Wait()
			s.start()
		},
		Keep: func() func() {
			kept := map[string]string{}
			keys, err := s.client.Keys(ctx, "*").Result()
			check(err)
			for _, k := range keys {
				kept[k], err = s.client.Dump(ctx, k).Result()
				check(err)
			}
			return func() {
				check(s.client.FlushAll(ctx).Err())
				for k, v := range kept {
					check(s.client.Restore(ctx, k, 0, v).Err())
				}
				set()
			}
		},
		Shared: true,
	}
}

func TestStore_KeepsTheRules(t *testing.T) {
	shared = startServer(t)
	admissiontest.Store(t, openBench)
}
