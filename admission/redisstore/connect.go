package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Mode is how a Redis is deployed.
type Mode string

// The modes.
const (
	Single   Mode = "single"
	Sentinel Mode = "sentinel"
	Cluster  Mode = "cluster"
)

// Options say how Redis is reached. They are those of store.redis in the YAML
// file, and errors name its keys.
type Options struct {
	Mode       Mode
	Addresses  []string // of the server, of the sentinels, or of some nodes
	MasterName string   // Sentinel: the name that the sentinels know the master by

	Username, Password string
	DB                 int // not in a cluster
	TLS                bool

	PoolSize, MinIdleConns                 int
	MaxRetries                             int // 0: none
	DialTimeout, ReadTimeout, WriteTimeout time.Duration

	// WaitReplicas is how many replicas must have a join, an admission or a
	// renewal before it is handed out; 0: none.
	WaitReplicas int
}

// checkTime bounds what is asked of Redis before a store is used.
const checkTime = 10 * time.Second

// The first and the longest pause before a command is tried again; they double
// between, with jitter.
const (
	firstBackoff   = 8 * time.Millisecond
	longestBackoff = 512 * time.Millisecond
)

func (o Options) universal() *redis.UniversalOptions {
	u := &redis.UniversalOptions{
		Addrs: o.Addresses, Username: o.Username, Password: o.Password, DB: o.DB,
		// Every question travels in a pipeline: a pool of their own would leave
		// pool_size idle and open as many connections again.
		PoolSize: o.PoolSize, MinIdleConns: o.MinIdleConns, PipelinePoolSize: -1,
		MaxRetries:      o.MaxRetries,
		MinRetryBackoff: firstBackoff, MaxRetryBackoff: longestBackoff,
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		// Without it a command outlives its caller's deadline by read_timeout
		// for each retry, and callers pile up on a server that hangs.
		ContextTimeoutEnabled: true,
		// A connection to a master that was demoted must not be kept for ever.
		ConnMaxIdleTime: 5 * time.Minute, ConnMaxLifetime: time.Hour,
		IsClusterMode: o.Mode == Cluster,
	}
	if o.Mode == Sentinel {
		u.MasterName = o.MasterName
	}
	if o.MaxRetries == 0 {
		u.MaxRetries = -1 // go-redis takes 0 for its own default
	}
	if o.TLS {
		u.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return u
}

func (o Options) client() redis.UniversalClient {
	if o.Mode != Cluster {
		return redis.NewUniversalClient(o.universal())
	}
	c := o.universal().Cluster()
	// A client that waits for its own interval, a minute, asks a dead node
	// until then (redis/go-redis #3979).
	c.ClusterStateReloadInterval = time.Second
	return redis.NewClusterClient(c)
}

// Connect returns a store over a Redis that answers and can keep a line; Close
// ends it. An error names the key of the YAML file that it is about.
func Connect(ctx context.Context, o Options) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if o.Mode == Sentinel {
		if err := knowsMaster(ctx, o); err != nil {
			return nil, err
		}
	}
	client := o.client()
	if err := usable(ctx, client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	s := New(client)
	s.waitReplicas = o.WaitReplicas
	return s, nil
}

// Close ends the connections of a store that Connect made.
func (s *Store) Close() error { return s.client.Close() }

// knowsMaster asks the sentinels for the master: go-redis says of a wrong name
// only that no sentinel could be reached.
func knowsMaster(ctx context.Context, o Options) error {
	var unreached []error
	for _, address := range o.Addresses {
		single := o
		single.Mode, single.Addresses = Single, []string{address}
		u := single.universal().Simple()
		u.Username, u.Password, u.DB = "", "", 0
		sentinel := redis.NewSentinelClient(u)
		_, err := sentinel.GetMasterAddrByName(ctx, o.MasterName).Result()
		closed := sentinel.Close()
		switch {
		case err == nil:
			return closed
		case errors.Is(err, redis.Nil):
			return fmt.Errorf("store.redis.master_name: the sentinel at %s knows no master %q", address, o.MasterName)
		}
		unreached = append(unreached, fmt.Errorf("%s: %w", address, err))
	}
	return fmt.Errorf("store.redis.addresses: no sentinel answers: %w", errors.Join(unreached...))
}

// usable asks what can be known before a line depends on it.
func usable(ctx context.Context, client redis.UniversalClient) error {
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("%s: %w", blame(err), err)
	}
	check := func(ctx context.Context, node *redis.Client) error {
		info, err := node.Info(ctx, "server").Result()
		if err != nil {
			return fmt.Errorf("%s: %w", blame(err), err)
		}
		version := lineOf(info, "redis_version")
		if major, _ := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); major < 7 {
			return fmt.Errorf("store.redis.addresses: %s is Redis %s, 7.0 or later is needed", node.Options().Addr, version)
		}
		return nil
	}
	switch client := client.(type) {
	case *redis.ClusterClient:
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			return fmt.Errorf("store.redis.mode: not a cluster: %w", err)
		}
		if assigned := lineOf(info, "cluster_slots_assigned"); assigned != "16384" {
			return fmt.Errorf("store.redis.addresses: the cluster serves %s of its 16384 slots; lines in the others could not be kept", assigned)
		}
		if state := lineOf(info, "cluster_state"); state != "ok" {
			return fmt.Errorf("store.redis.addresses: the cluster's state is %s", state)
		}
		return client.ForEachMaster(ctx, check)
	case *redis.Client:
		return check(ctx, client)
	}
	return nil
}

// blame names the key of the YAML file that an error of a first command is
// about.
func blame(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"), strings.Contains(text, "invalid password"),
		strings.Contains(text, "without any password configured"):
		return "store.redis.password"
	case strings.Contains(text, "NOPERM"):
		return "store.redis.username"
	case strings.Contains(text, "DB index"), strings.Contains(text, "SELECT"):
		return "store.redis.db"
	case strings.Contains(text, "cluster support disabled"):
		return "store.redis.mode"
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"):
		return "store.redis.tls"
	}
	return "store.redis.addresses"
}

// lineOf returns a value of an INFO text.
func lineOf(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Check returns the version of Redis, or why it does not answer.
func (s *Store) Check(ctx context.Context) (version string, err error) {
	info, err := s.client.Info(ctx, "server").Result()
	return lineOf(info, "redis_version"), err
}

// Warnings tells in what ways Redis is set up so that it can lose a line. What
// a managed Redis does not let be asked is not warned of.
func (s *Store) Warnings(ctx context.Context, mode Mode) []string {
	var warnings []string
	look := func(ctx context.Context, node *redis.Client) error {
		setting := func(name string) string { return node.ConfigGet(ctx, name).Val()[name] }
		at := node.Options().Addr
		if policy := setting("maxmemory-policy"); policy != "" && policy != "noeviction" && setting("maxmemory") != "0" {
			warnings = append(warnings, fmt.Sprintf("%s evicts keys when its memory is full (maxmemory-policy %s): a line may be dropped; use noeviction", at, policy))
		}
		if setting("appendonly") == "no" {
			warnings = append(warnings, at+" keeps no append-only file (appendonly no): a restart loses the lines, which gateways then heal")
		}
		info := node.Info(ctx, "replication").Val()
		replicas, _ := strconv.Atoi(lineOf(info, "connected_slaves"))
		if (mode == Sentinel || replicas > 0) && lineOf(info, "role") == "master" && setting("min-replicas-to-write") == "0" {
			warnings = append(warnings, at+" takes writes without any replica (min-replicas-to-write 0): cut off, it goes on admitting beside the new master")
		}
		return nil
	}
	// What cannot be asked here cannot be warned of; the line's own calls tell
	// of a Redis that does not answer.
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		_ = client.ForEachMaster(ctx, look)
	case *redis.Client:
		_ = look(ctx, client)
	}
	return warnings
}
