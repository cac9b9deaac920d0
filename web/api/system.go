package api

import "github.com/ropeline/ropeline/admission"

// system answers with what holds for all activities that were made by the API.
func (a *AdminAPI) system(*call) (any, error) { return a.Activities.System(), nil }

// setSystem changes the values that the request names.
func (a *AdminAPI) setSystem(c *call) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	was := a.Activities.System()
	next := was
	for _, f := range []struct {
		name string
		into any
		kind sentence
	}{
		{"default_queue_ttl", &next.DefaultQueueTTL, anInteger},
		{"max_release_rate", &next.MaxReleaseRate, aNumber},
		{"default_poll_interval", &next.DefaultPollInterval, anInteger},
	} {
		if err := body.read(f.name, f.into, f.kind); err != nil {
			return nil, err
		}
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	const mostRate = admission.MaxRatePerHour / 3600
	switch {
	case next.DefaultQueueTTL < 0 || next.DefaultQueueTTL > longestHold:
		return nil, wrong("default_queue_ttl", sayRange, 0, longestHold)
	case next.MaxReleaseRate < leastRate || next.MaxReleaseRate > mostRate:
		return nil, wrong("max_release_rate", sayRange, "1/3600", mostRate)
	case next.DefaultPollInterval < shortestPoll || next.DefaultPollInterval > longestPoll:
		return nil, wrong("default_poll_interval", sayRange, shortestPoll, longestPoll)
	}
	if err := a.Activities.SetSystem(c.Context(), next); err != nil {
		return nil, stored(err)
	}
	a.changed(c, "system.config", "", 0, was, next)
	return next, nil
}
