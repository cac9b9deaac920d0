package main

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropeline/ropeline/admission"
)

// roomMetrics are the numbers of all rooms, read when Prometheus asks.
type roomMetrics struct {
	rooms *admission.Rooms
}

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("ropeline_"+name, help, []string{"activity"}, nil)
}

var (
	queueLength    = describe("queue_length", "Visitors present and not admitted.")
	queueAbsent    = describe("queue_absent", "Numbers that wait without their visitor being heard from.")
	queueIssued    = describe("queue_issued", "The highest number given.")
	queueReleased  = describe("queue_released", "The highest number that had a turn.")
	activeSessions = describe("active_sessions", "Admitted visitors whose session has not ended.")
	capacity       = describe("capacity", "The most active sessions at once; 0: no limit.")
	rate           = describe("rate", "The most releases per second; 0: no limit.")
	joins          = describe("joins_total", "Places given by this gateway.")
	releases       = describe("releases_total", "Turns given in this line, by all gateways.")
	admissions     = describe("admissions_total", "Visitors admitted by this gateway.")
	polls          = describe("polls_total", "Status answers given by this gateway.")
	sharedTokens   = prometheus.NewDesc("ropeline_shared_tokens_total",
		"Sessions whose token was used by too many at this gateway, once for each window, by what was too much.", []string{"activity", "reason"}, nil)
	passes = prometheus.NewDesc("ropeline_passes_total", "Visitors of this gateway who showed a pass, by what became of it.", []string{"activity", "outcome"}, nil)
	waits  = describe("wait_seconds", "Time from joining to being admitted by this gateway.")
)

// Describe implements prometheus.Collector.
func (m roomMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements prometheus.Collector.
func (m roomMetrics) Collect(to chan<- prometheus.Metric) {
	for id, room := range m.rooms.All() {
		f := room.Figures()
		activity := strconv.FormatInt(id, 10)
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, activity)
		}
		counter := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, activity)
		}
		gauge(queueLength, float64(f.Waiting+f.Turns+f.Awaited))
		gauge(queueAbsent, float64(f.Absent))
		gauge(queueIssued, float64(f.Issued))
		gauge(queueReleased, float64(f.Released))
		gauge(activeSessions, float64(f.Sessions))
		gauge(capacity, float64(f.Limits.Capacity))
		gauge(rate, float64(f.Limits.RatePerHour)/3600)
		counter(joins, float64(f.Joins))
		counter(releases, float64(f.Turned))
		counter(admissions, float64(f.Admissions))
		counter(polls, float64(f.Polls))
		for is, n := range f.Shared {
			to <- prometheus.MustNewConstMetric(sharedTokens, prometheus.CounterValue, float64(n), activity, admission.Suspicion(is).String())
		}
		for outcome, n := range map[string]uint64{
			"admitted": f.Passes.Admitted, "spent": f.Passes.Spent, "expired": f.Passes.Expired, "unknown": f.Passes.Unknown,
		} {
			to <- prometheus.MustNewConstMetric(passes, prometheus.CounterValue, float64(n), activity, outcome)
		}

		var total uint64
		buckets := make(map[float64]uint64, len(admission.WaitBounds))
		for i, n := range f.Waits {
			total += n
			if i < len(admission.WaitBounds) {
				buckets[admission.WaitBounds[i]] = total
			}
		}
		to <- prometheus.MustNewConstHistogram(waits, total, f.WaitSum.Seconds(), buckets, activity)
	}
}

// eventStreams is how many event streams are open, read when Prometheus asks.
func eventStreams(open func() int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ropeline_event_streams", Help: "Event streams that are open."}, func() float64 { return float64(open()) })
}

// meteredStore is a store whose calls are counted and timed by verb.
type meteredStore struct {
	admission.Store
	calls    *prometheus.CounterVec
	errs     *prometheus.CounterVec
	duration *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
}

func meter(store admission.Store, to prometheus.Registerer) *meteredStore {
	m := &meteredStore{
		Store: store,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_store_calls_total", Help: "Steps asked of the store."}, []string{"verb"}),
		errs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_store_errors_total", Help: "Steps that the store did not answer."}, []string{"verb", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ropeline_store_duration_seconds", Help: "Time of a step.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}}, []string{"verb"}),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ropeline_store_batch_size", Help: "Questions that travelled together in a step.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10)}, []string{"verb"}),
	}
	to.MustRegister(m.calls, m.errs, m.duration, m.batch)
	// A counter that is not there until it counts hides its first step from rate().
	for _, verb := range []string{"join", "release", "admit", "renew", "leave", "present", "heal", "override", "spend", "reset"} {
		for _, reason := range []string{"timeout", "canceled", "unavailable", "other"} {
			m.errs.WithLabelValues(verb, reason)
		}
	}
	return m
}

// done counts one step; size 0: the verb has no batches.
func (m *meteredStore) done(verb string, began time.Time, size int, err error) {
	m.calls.WithLabelValues(verb).Inc()
	m.duration.WithLabelValues(verb).Observe(time.Since(began).Seconds())
	if size > 0 {
		m.batch.WithLabelValues(verb).Observe(float64(size))
	}
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		m.errs.WithLabelValues(verb, "timeout").Inc()
	case errors.Is(err, context.Canceled):
		m.errs.WithLabelValues(verb, "canceled").Inc()
	case errors.Is(err, admission.ErrUnavailable):
		m.errs.WithLabelValues(verb, "unavailable").Inc()
	default:
		m.errs.WithLabelValues(verb, "other").Inc()
	}
}

func (m *meteredStore) Join(ctx context.Context, call admission.Call, batch string, newcomers []admission.Newcomer) (admission.Head, []admission.Place, error) {
	began := time.Now()
	head, places, err := m.Store.Join(ctx, call, batch, newcomers)
	m.done("join", began, len(newcomers), err)
	return head, places, err
}

func (m *meteredStore) Release(ctx context.Context, call admission.Call, limits admission.Limits, since int64) (admission.Line, error) {
	began := time.Now()
	line, err := m.Store.Release(ctx, call, limits, since)
	m.done("release", began, 0, err)
	return line, err
}

func (m *meteredStore) Admit(ctx context.Context, call admission.Call, knocks []admission.Knock) (admission.Head, []admission.Entry, error) {
	began := time.Now()
	head, entries, err := m.Store.Admit(ctx, call, knocks)
	m.done("admit", began, len(knocks), err)
	return head, entries, err
}

func (m *meteredStore) Renew(ctx context.Context, call admission.Call, visitors []string) (admission.Head, []admission.Entry, error) {
	began := time.Now()
	head, entries, err := m.Store.Renew(ctx, call, visitors)
	m.done("renew", began, len(visitors), err)
	return head, entries, err
}

func (m *meteredStore) Leave(ctx context.Context, call admission.Call, departures []admission.Departure) (admission.Head, error) {
	began := time.Now()
	head, err := m.Store.Leave(ctx, call, departures)
	m.done("leave", began, len(departures), err)
	return head, err
}

func (m *meteredStore) Present(ctx context.Context, call admission.Call, heard []admission.Piece) (admission.Head, error) {
	began := time.Now()
	head, err := m.Store.Present(ctx, call, heard)
	m.done("present", began, len(heard), err)
	return head, err
}

func (m *meteredStore) Heal(ctx context.Context, call admission.Call, memory admission.Memory) (admission.Head, error) {
	began := time.Now()
	head, err := m.Store.Heal(ctx, call, memory)
	m.done("heal", began, 0, err)
	return head, err
}

func (m *meteredStore) Override(ctx context.Context, call admission.Call, overrides admission.Overrides) (admission.Head, error) {
	began := time.Now()
	head, err := m.Store.Override(ctx, call, overrides)
	m.done("override", began, 0, err)
	return head, err
}

func (m *meteredStore) Spend(ctx context.Context, call admission.Call, spent []admission.Spent) (admission.Head, error) {
	began := time.Now()
	head, err := m.Store.Spend(ctx, call, spent)
	m.done("spend", began, len(spent), err)
	return head, err
}

func (m *meteredStore) Reset(ctx context.Context, call admission.Call, epoch int64) (admission.Head, error) {
	began := time.Now()
	head, err := m.Store.Reset(ctx, call, epoch)
	m.done("reset", began, 0, err)
	return head, err
}

// configMetrics tell what the gateway runs on.
type configMetrics struct {
	successful prometheus.Gauge
	at         prometheus.Gauge
	info       *prometheus.GaugeVec
}

func newConfigMetrics(to prometheus.Registerer) *configMetrics {
	m := &configMetrics{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ropeline_config_last_reload_successful", Help: "1 if the file on disk is the one in force."}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ropeline_config_last_reload_success_timestamp_seconds", Help: "When the file in force was loaded."}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ropeline_config_info", Help: "The hash of what was loaded."}, []string{"hash"}),
	}
	built := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "ropeline_build_info", Help: "What was built, and with which Go."}, []string{"version", "goversion"})
	built.WithLabelValues(version(), runtime.Version()).Set(1)
	to.MustRegister(m.successful, m.at, m.info, built)
	return m
}

func (m *configMetrics) loaded(hash string) {
	m.successful.Set(1)
	m.at.SetToCurrentTime()
	m.info.Reset()
	m.info.WithLabelValues(hash).Set(1)
}

func (m *configMetrics) refused() { m.successful.Set(0) }

// errorMetrics count what was answered with an error, by its code.
type errorMetrics struct{ codes *prometheus.CounterVec }

func newErrorMetrics(to prometheus.Registerer) errorMetrics {
	m := errorMetrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropeline_errors_total", Help: "Requests that were answered with an error, by its code."}, []string{"code"})}
	to.MustRegister(m.codes)
	return m
}

// count counts one more. Codes are a closed set.
func (m errorMetrics) count(code string) { m.codes.WithLabelValues(code).Inc() }
