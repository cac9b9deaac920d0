package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/webhook"
)

// watchLease is how long the watch of a gateway that died is waited for.
const watchLease = 5 * time.Second

// board is where gateways on one Redis write down what webhooks are to tell.
type board struct {
	vault   redisstore.Vault
	gateway string
}

const boardName = "watch"

func (b board) Hold(ctx context.Context) (bool, error) {
	return b.vault.Hold(ctx, boardName, b.gateway, watchLease)
}

func (b board) Free(ctx context.Context) error { return b.vault.Free(ctx, boardName, b.gateway) }

func (b board) Read(ctx context.Context) ([]byte, error) {
	text, _, err := b.vault.Get(ctx, boardName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

func (b board) Write(ctx context.Context, text []byte) (bool, error) {
	return b.vault.Put(ctx, boardName, text, boardName, b.gateway)
}

// lines are those that webhooks tell of: all that are read well.
func (g *gateway) lines() []webhook.Line {
	var all []webhook.Line
	for _, o := range *g.offered.Load() {
		f := o.Room.Figures()
		if f.Stale || f.Settling {
			continue
		}
		all = append(all, webhook.Line{
			Activity: webhook.Activity{ID: o.Activity.ID, Tenant: o.Activity.TenantID, Name: o.Activity.Name},
			Head:     f.Head, Slow: g.front.Slow(o.Activity.ID),
		})
	}
	return all
}

// hooks are the webhooks of a file.
func hooks(c *config.Config) []webhook.Hook {
	all := make([]webhook.Hook, len(c.Webhooks))
	for i, h := range c.Webhooks {
		all[i] = webhook.Hook{URL: h.URL.Reveal(), Secret: h.Secret.Reveal(), Activities: slices.Clone(h.Activities), Private: h.Private}
		for _, kind := range h.Events {
			all[i].Events = append(all[i].Events, webhook.Kind(kind))
		}
	}
	return all
}
