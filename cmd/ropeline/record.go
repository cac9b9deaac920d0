package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/admission/postgres"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/web/api"
)

// databasePatience is how long a start waits for the database.
const databasePatience = 2 * time.Second

// openRecord opens the database that the file names, and has the rooms that are
// opened from now on tell it what happens. It does not wait for the database.
// shelf is where gateways share the activities that the API makes; nil: nowhere.
func (g *gateway) openRecord(ctx context.Context, c *config.Config, shelf catalog.Shelf, metrics prometheus.Registerer) (end func(), err error) {
	db := c.Database
	g.database, err = postgres.Open(postgres.Options{
		ConnString: db.ConnString(), ReplicaURL: db.ReplicaURL.Reveal(),
		MaxOpenConns: int(db.MaxOpenConns), MaxIdleConns: int(db.MaxIdleConns),
		ConnMaxLifetime: db.ConnMaxLifetime, ConnMaxIdleTime: db.ConnMaxIdleTime, Retention: db.Retention,
		Spool: c.Spool.Path, SpoolMax: c.Spool.Max,
		Gateway: g.name, Log: g.log, Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan error, 1)
	go func() { stopped <- g.database.Run(running) }()
	g.rooms.Record(g.database)
	g.catalog = catalog.New(g.database, shelf, g.log)
	// Activities that the API made are served from the first request on, unless
	// the database keeps everyone else waiting.
	select {
	case <-g.database.Ready():
	case <-time.After(databasePatience):
	case <-ctx.Done():
	}
	g.catalog.Look(ctx)
	return func() {
		stop()
		if err := <-stopped; err != nil {
			g.log.Error("record not closed", zap.Error(err))
		}
		g.database.Close()
	}, nil
}

// recordHealth tells how the database and its replica are, where there are any.
func (g *gateway) recordHealth() []api.Dependency {
	if g.database == nil {
		return nil
	}
	all := []api.Dependency{{Name: "database", Check: g.database.Check}}
	if g.database.HasReplica() {
		all = append(all, api.Dependency{Name: "database replica", Check: g.database.CheckReplica})
	}
	return all
}
