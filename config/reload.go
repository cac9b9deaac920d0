package config

import (
	"context"
	"crypto/sha256"
	"reflect"
	"time"
)

// Watch looks at the file at path every so often until ctx ends, and calls
// changed, waiting for it to return, when the content is another one than at the
// last call (at first: than when Watch began) and has been the same for two
// looks: a file that is still being written is left alone, and so is one that
// was only touched.
//
// It opens path anew each time, so a file that is replaced and a symlink that
// is turned (as Kubernetes does) are seen; a file that is away or unreadable
// is waited for. What the file refers to is not watched.
func Watch(ctx context.Context, path string, every time.Duration, changed func()) {
	known, _ := look(path)
	last := known
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, ok := look(path)
		if ok && now == last && now != known {
			known = now
			changed()
		}
		last = now
	}
}

// look gives the hash of the file's content. A file that cannot be read has a
// hash of zeros, which no content has.
func look(path string) (hash [sha256.Size]byte, ok bool) {
	data, err := readFile(path, maxBytes)
	if err != nil {
		return hash, false
	}
	return sha256.Sum256(data), true
}

// RestartNeeded gives the keys in which now differs from old and which a
// running gateway cannot change, in the order of Config.
func RestartNeeded(old, now *Config) []string {
	var paths []string
	var walk func(path string, a, b reflect.Value, f field)
	walk = func(path string, a, b reflect.Value, f field) {
		if a.Kind() == reflect.Struct && !isScalar(a.Type()) {
			for _, child := range fieldsOf(a.Type()) {
				walk(join(path, child.name), a.Field(child.index), b.Field(child.index), f.below(child))
			}
			return
		}
		if f.restart && !reflect.DeepEqual(a.Interface(), b.Interface()) {
			paths = append(paths, path)
		}
	}
	walk("", reflect.ValueOf(*old), reflect.ValueOf(*now), field{})
	return paths
}
