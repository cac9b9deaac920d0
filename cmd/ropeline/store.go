package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/proxy/certs"
	"github.com/ropeline/ropeline/web/api"
	"github.com/ropeline/ropeline/webhook"
)

// backing is the store that the file names, with what else is to be known of
// it.
type backing struct {
	store  admission.Store
	health api.Dependency
	shelf  catalog.Shelf // nil: nothing is shared
	vault  certs.Vault   // the same
	board  func(gateway string) webhook.Board
	close  func() error
}

// openStore opens the store that the file names. What it does by itself it
// does until close.
func openStore(ctx context.Context, c config.Store, metrics prometheus.Registerer, log *zap.Logger) (backing, error) {
	if c.Type == "redis" {
		return openRedis(ctx, c.Redis, metrics, log)
	}
	memory, err := admission.OpenMemory(c.Path, nil)
	if err != nil {
		return backing{}, fmt.Errorf("store.path: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan error, 1)
	go func() { stopped <- memory.Run(running) }()
	return backing{
		store:  memory,
		health: api.Dependency{Name: "store", Check: func(context.Context) (string, error) { return "", memory.Health() }},
		board:  func(string) webhook.Board { return webhook.File(c.Path + ".webhooks") },
		close:  func() error { stop(); return <-stopped },
	}, nil
}

func openRedis(ctx context.Context, c config.Redis, metrics prometheus.Registerer, log *zap.Logger) (backing, error) {
	redisstore.LogTo(log)
	mode := redisstore.Mode(c.Mode)
	store, err := redisstore.Connect(ctx, redisstore.Options{
		Mode: mode, Addresses: c.Addresses, MasterName: c.MasterName,
		Username: c.Username, Password: c.Password.Reveal(), DB: int(c.DB), TLS: c.TLS,
		PoolSize: int(c.PoolSize), MinIdleConns: int(c.MinIdleConns), MaxRetries: int(c.MaxRetries),
		DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		WaitReplicas: int(c.WaitReplicas),
	})
	if err != nil {
		return backing{}, err
	}
	for _, warning := range store.Warnings(ctx, mode) {
		log.Warn("redis may lose a line", zap.String("warning", warning))
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ropeline_breaker_state", Help: "0 closed, 1 half-open, 2 open.",
		ConstLabels: prometheus.Labels{"name": "redis"},
	}, func() float64 { return float64(store.BreakerState()) }))
	return backing{
		store: store, health: api.Dependency{Name: "store", Check: store.Check},
		shelf: store.Shelf(), vault: store.Vault("certs"),
		board: func(gateway string) webhook.Board { return board{store.Vault("webhooks"), gateway} }, close: store.Close,
	}, nil
}
