package api

import "slices"

// Paths are those that are served.
func (q *Queue) Paths() []string    { return paths(q.routes) }
func (a *AdminAPI) Paths() []string { return paths(a.routes) }

func paths(rs routes) []string {
	var all []string
	for _, r := range rs.all {
		all = append(all, r.path)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

var Decode = decode
