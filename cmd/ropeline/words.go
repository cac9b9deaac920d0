package main

import (
	"fmt"
	"strings"

	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/waitpage"
)

// words are the languages of the waiting pages of a file.
type words struct {
	all     *waitpage.Languages
	offered map[int64]*waitpage.Languages // by activity, where the file chooses
}

// openWords reads the catalogs that a file names. Its error is config.Problems.
func openWords(c *config.Config) (words, error) {
	all, err := waitpage.OpenLanguages(c.Words)
	if err != nil {
		var problems config.Problems
		for line := range strings.SplitSeq(err.Error(), "\n") { // one for each key
			problems = append(problems, c.Problem("words", "%s", line))
		}
		return words{}, problems
	}
	w := words{all, map[int64]*waitpage.Languages{}}
	var problems config.Problems
	for i, a := range c.Activities {
		offered, err := all.Offer(a.Page.Languages)
		if err != nil {
			problems = append(problems, c.Problem(fmt.Sprintf("activities[%d].page.languages", i), "%v", err))
			continue
		}
		w.offered[a.ID] = offered
	}
	if len(problems) > 0 {
		return words{}, problems
	}
	return w, nil
}

// of returns the languages of an activity; one made by the API has all.
func (w words) of(activity int64) *waitpage.Languages {
	if offered, ok := w.offered[activity]; ok {
		return offered
	}
	return w.all
}
