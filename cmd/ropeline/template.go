package main

import (
	"fmt"

	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/waitpage"
)

// openTemplates makes the templates that a file names, by activity. Its error is
// config.Problems.
func openTemplates(c *config.Config) (map[int64]*waitpage.Template, error) {
	made := map[int64]*waitpage.Template{}
	var problems config.Problems
	for i, a := range c.Activities {
		if a.Page.Template == "" {
			continue
		}
		t, err := waitpage.NewTemplate(a.Page.Template, a.Page.TemplateText)
		if err != nil {
			problems = append(problems, c.Problem(fmt.Sprintf("activities[%d].page.template", i), "%v", err))
			continue
		}
		made[a.ID] = t
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return made, nil
}
