package admission

import (
	"cmp"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// migrate brings a file of an older form to formVersion.
func migrate(tx *bolt.Tx, version int) error {
	if lines := tx.Bucket(linesBucket); lines != nil && version < 2 {
		if err := lines.ForEachBucket(func(name []byte) error {
			return numberIdentities(lines.Bucket(name))
		}); err != nil {
			return err
		}
	}
	b, err := tx.CreateBucketIfNotExists(formBucket)
	if err != nil {
		return err
	}
	return b.Put(versionKey, fmt.Append(nil, formVersion))
}

// numberIdentities has a line's identities by their numbers, which it had by
// their hash in form 1: to each number, epoch, end, and the visitor.
func numberIdentities(line *bolt.Bucket) error {
	byHash := []byte("identities")
	old := line.Bucket(byHash)
	if old == nil {
		return nil
	}
	var all []*identity
	if err := old.ForEach(func(key, value []byte) error {
		if len(value) < 24 {
			return fmt.Errorf("%s: %w", byHash, errTorn)
		}
		all = append(all, &identity{
			Hash: string(key), Visitor: string(value[24:]),
			Number: decodeNumber(value, 0), End: Instant(decodeNumber(value, 2)),
		})
		return nil
	}); err != nil {
		return err
	}
	if err := line.DeleteBucket(byHash); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *identity) int { return cmp.Compare(a.Number, b.Number) })
	set := bucketSet{name: identityBucket, ascending: true}
	for _, id := range all {
		set.put(encodeIdentity(id))
	}
	return set.write(line)
}
