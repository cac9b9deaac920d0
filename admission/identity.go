package admission

// identityTime is how long an identity's ticket is remembered: as long as a
// queue token lives.
const identityTime = queueTicketLife

// identity is the ticket of a visitor whom the shop knows.
type identity struct {
	Hash    string // of what the shop calls the visitor
	Visitor string
	Number  int64
	End     Instant // it is forgotten then
}

// identities are the tickets of an epoch's visitors whom the shop knows. They
// are added in the order of their numbers, which is that of their ends. The
// zero identities is empty.
type identities struct {
	byHash map[string]*identity
	order  []*identity // replaced ones stay until their end
}

// get returns the ticket of an identity; nil: it has none, or is no one.
func (ids *identities) get(hash string) *identity {
	if hash == "" {
		return nil
	}
	return ids.byHash[hash]
}

// add gives an identity its ticket, and returns the one it replaces, or nil.
func (ids *identities) add(id *identity) (replaced *identity) {
	if ids.byHash == nil {
		ids.byHash = map[string]*identity{}
	}
	replaced = ids.byHash[id.Hash]
	ids.byHash[id.Hash] = id
	ids.order = append(ids.order, id)
	return replaced
}

// due takes out and returns a ticket whose end has come; nil: there is none.
func (ids *identities) due(now Instant) *identity {
	for len(ids.order) > 0 && ids.order[0].End <= now {
		id := ids.order[0]
		ids.order[0], ids.order = nil, ids.order[1:]
		if ids.byHash[id.Hash] == id {
			delete(ids.byHash, id.Hash)
			return id
		}
	}
	return nil
}

// all are the tickets, by number.
func (ids *identities) all(yield func(*identity) bool) {
	for _, id := range ids.order {
		if ids.byHash[id.Hash] == id && !yield(id) {
			return
		}
	}
}
