package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ropeline/ropeline/admission/catalog"
)

// catalogKey holds the activities made through the API.
const catalogKey = "ropeline:catalog"

// catalogLife is how long they are kept unread. The database has them too.
const catalogLife = 7 * 24 * time.Hour

// Shelf returns the shelf by which gateways on this Redis share activities.
func (s *Store) Shelf() catalog.Shelf { return shelf{s} }

type shelf struct{ store *Store }

// Put implements catalog.Shelf.
func (s shelf) Put(ctx context.Context, c catalog.Snapshot) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, _, err = s.exchange(ctx, c.Version, text, c.Version)
	return err
}

// Get implements catalog.Shelf.
func (s shelf) Get(ctx context.Context, than int64) (c catalog.Snapshot, version int64, err error) {
	version, text, err := s.exchange(ctx, 0, nil, than)
	if err != nil || text == "" {
		return c, version, err
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return catalog.Snapshot{}, 0, fmt.Errorf("read shared activities: %w", err)
	}
	return c, version, nil
}

// exchange gives a version with its text, and returns the version that is kept,
// with its text if than is older.
func (s shelf) exchange(ctx context.Context, version int64, text []byte, than int64) (int64, string, error) {
	answer, err := s.store.ask(ctx, s.store.scripts.catalog, []string{catalogKey}, false,
		[]any{int64(catalogLife / time.Second), version, text, than})
	if err != nil {
		return 0, "", err
	}
	parts, ok := answer.([]any)
	if !ok || len(parts) != 2 {
		return 0, "", errAnswer
	}
	kept, ok1 := parts[0].(int64)
	newer, ok2 := parts[1].(string)
	if !ok1 || !ok2 {
		return 0, "", errAnswer
	}
	return kept, newer, nil
}
