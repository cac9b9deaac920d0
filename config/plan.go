package config

import (
	"cmp"
	"slices"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// Plan is an event that is to be simulated: who comes, how they behave, and the
// settings that are to be compared. Its tags are read as those of Config are. A
// Plan that LoadPlan returned is complete.
type Plan struct {
	Name     string        `key:"name" default:"Plan" form:"name" doc:"What the report is called."`
	Start    time.Duration `key:"start" default:"0s" min:"0s" max:"24h" doc:"When the activity opens, from the beginning of the demand; with order: draw, who comes before is drawn."`
	End      time.Duration `key:"end" default:"0s" min:"0s" max:"168h" doc:"When it is over, from the beginning of the demand; 0s: when everyone is in, or for is over."`
	For      time.Duration `key:"for" default:"6h" min:"1m" max:"168h" doc:"The longest that is simulated."`
	Runs     int64         `key:"runs" default:"3" min:"1" max:"100" doc:"How often each setting is simulated, by another chance each time."`
	Seed     int64         `key:"seed" default:"1" min:"0" doc:"What the first run's chance begins with: the same seed gives the same figures."`
	Demand   []Demand      `key:"demand" doc:"How visitors come, one stretch of time after the other. Not read where a recorded event is replayed."`
	Visitors Crowd         `key:"visitors" doc:"How visitors behave."`
	Settings []Setting     `key:"settings,named,required" form:"setting" doc:"What is compared, by name: keys of an activity, with their defaults."`

	file   string
	places map[string]place
}

// Demand is a stretch of time in which visitors come.
type Demand struct {
	For      time.Duration `key:"for,required" min:"1s" max:"168h" doc:"How long it lasts."`
	Visitors int64         `key:"visitors,required" min:"0" max:"10000000" doc:"How many come in it, on average."`
	Shape    string        `key:"shape" default:"even" enum:"even|rising|falling" doc:"even: as many at its end as at its beginning; rising: from none to twice as many; falling: the other way round."`
}

// Crowd is how visitors behave.
type Crowd struct {
	Stay     time.Duration `key:"stay" default:"4m" min:"1s" max:"24h" doc:"How long they use the shop, on average."`
	Spread   string        `key:"spread" default:"heavy" enum:"fixed|exponential|heavy" doc:"How much their stays differ. fixed: not; exponential: one in twenty stays three times as long; heavy: log-normal, half stay less than 0.6 of the average and a few very long."`
	Ends     float64       `key:"ends" default:"0" min:"0" max:"1" doc:"The share whose session the shop ends when they are done; that of all others ends session.idle after their last request."`
	NoShow   float64       `key:"no_show" default:"5%" min:"0" max:"1" doc:"The share of those in line who do not enter when their turn comes."`
	Patience time.Duration `key:"patience" default:"0s" min:"0s" max:"24h" doc:"How long they wait before they close the page, on average; 0s: none does."`
	Buys     float64       `key:"buys" default:"0" min:"0" max:"1" doc:"The share of those inside who buy one of the stock, when they are done."`
	Comes    time.Duration `key:"comes" default:"2s" min:"0s" max:"1h" doc:"How long it takes to enter once the turn has come, at most: poll.min, and longer for who looks away."`
}

// Setting is one of the settings that are compared.
type Setting struct {
	Name      string
	Capacity  int64         `key:"capacity" default:"0" min:"0" max:"1000000000" doc:"Visitors inside at once; 0: no limit."`
	Rate      Rate          `key:"rate" doc:"New visitors per s, m or h; empty: no limit."`
	Burst     int64         `key:"burst" min:"1" max:"400000" doc:"Visitors let in at one instant at most. Default: half a second of rate, at least 2."`
	MaxQueue  int64         `key:"max_queue" default:"0" min:"0" max:"1000000000" doc:"Visitors waiting at most; 0: no limit."`
	Absence   time.Duration `key:"absence" default:"3m" min:"10s" max:"1h" doc:"A waiting visitor not heard from for this long is passed over."`
	HoldPlace time.Duration `key:"hold_place" default:"15m" min:"0s" max:"168h" doc:"A visitor who was passed over keeps the place for this long."`
	Claim     time.Duration `key:"claim" default:"90s" min:"5s" max:"1h" doc:"A turn that is not taken for this long goes to the next."`
	Session   Session       `key:"session" doc:"The stay of a visitor inside."`
	Order     string        `key:"order" default:"arrival" enum:"arrival|draw" doc:"arrival: who comes first is first; draw: who comes before the start is drawn."`
	Stock     PlanStock     `key:"stock" doc:"The article's stock."`
}

// PlanStock is how much there is to sell, and what follows from it.
type PlanStock struct {
	Initial int64 `key:"initial" default:"-1" min:"-1" max:"1000000000" doc:"What there is to sell; -1: not counted."`
	StopAt  int64 `key:"stop_at" default:"0" min:"0" max:"1000000000" doc:"No one new joins while as many wait as this times what is left; 0: no such limit."`
}

// LoadPlan reads the plan at path as Load reads a file, but for the environment,
// which fills in ${NAME} and overrides nothing.
func LoadPlan(path string, environ []string) (*Plan, error) {
	data, err := readFile(path, maxBytes)
	if err != nil {
		return nil, Problems{{File: path, Line: 1, Column: 1, What: err.Error()}}
	}
	d := newDecoder(path, data)
	env := newEnvironment(environ)
	env.names = nil
	var p Plan
	if !d.fill(data, env, &p) {
		return nil, Problems(sorted(d.problems))
	}
	d.checkPlan(&p)
	if len(d.problems) > 0 {
		return nil, Problems(sorted(d.problems))
	}
	p.file, p.places = path, d.places
	return &p, nil
}

// Problem tells what is wrong with the value at path to whoever finds it while
// simulating p.
func (p *Plan) Problem(path, what string, args ...any) Problem {
	d := decoder{file: p.file, places: p.places}
	return d.says(d.place(path), path, what, args...)
}

// checkPlan derives what follows, and holds the values against each other.
func (d *decoder) checkPlan(p *Plan) {
	if p.End > 0 && p.End <= p.Start && d.sound("start", "end") {
		d.problem("end", "is not after start")
	}
	slices.SortStableFunc(p.Settings, func(a, b Setting) int { // as they stand in the file
		here, there := d.place(join("settings", a.Name)), d.place(join("settings", b.Name))
		return cmp.Or(cmp.Compare(here.line, there.line), cmp.Compare(here.column, there.column))
	})
	for i := range p.Settings {
		s := &p.Settings[i]
		path := join("settings", s.Name)
		rate, burst := path+".rate", path+".burst"
		d.checkRate(rate, burst, s.Rate, s.Burst)
		if !d.given(burst) {
			s.Burst = admission.Burst(s.Rate.PerHour())
		}
		if d.sound(path+".session.idle", path+".session.max") && s.Session.Idle > s.Session.Max {
			d.problem(path+".session.idle", "is longer than session.max, %v", s.Session.Max)
		}
		if s.Order == "draw" && p.Start == 0 && d.sound(path+".order", "start") {
			d.problem(path+".order", "needs start: who comes before it is drawn")
		}
		if s.Stock.Initial >= 0 && p.Visitors.Buys == 0 && d.sound(path+".stock.initial", "visitors.buys") {
			d.problem(path+".stock.initial", "is never sold; set visitors.buys")
		}
		if s.Stock.StopAt > 0 && s.Stock.Initial < 0 && d.sound(path+".stock.stop_at", path+".stock.initial") {
			d.problem(path+".stock.stop_at", "means nothing without stock.initial")
		}
	}
}

// checkRate holds a rate and its burst against what a line can do.
func (d *decoder) checkRate(rate, burst string, r Rate, b int64) {
	if d.sound(rate) && r.PerHour() > admission.MaxRatePerHour {
		d.problem(rate, "%v is more than %d/s", r, admission.MaxRatePerHour/3600)
	}
	if !d.sound(rate, burst) || !d.given(burst) {
		return
	}
	least := admission.LeastBurst(r.PerHour())
	switch {
	case r == (Rate{}):
		d.problem(burst, "means nothing without a rate")
	case b < least:
		d.problem(burst, "is below what rate %v gives in one tick of %v, %d: the rate could not be reached", r, admission.Tick, least)
	}
}
