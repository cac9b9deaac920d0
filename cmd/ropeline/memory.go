package main

import (
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"
)

// gcPercent is how much a gateway's heap may grow between two collections. Its
// live heap is a few megabytes and each request makes garbage, so at Go's own
// 100 it would collect dozens of times a second. GOGC overrides it.
const gcPercent = 400

// memoryShare is the part of a container's memory at which the collector works
// harder; the kernel, buffers and stacks of C need the rest. GOMEMLIMIT, or
// AUTOMEMLIMIT for another share, override it.
const memoryShare = .9

// tuneCollector has the garbage collector work seldom, and keep the heap within
// the memory of the control group that the process is in, as containers have one.
func tuneCollector(environ []string, log *zap.Logger) {
	if variable(environ, "GOGC", "") == "" {
		debug.SetGCPercent(gcPercent)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	switch {
	case err != nil: // another system, or a layout of groups that nobody knows
		log.Debug("memory limit not found", zap.Error(err))
	case limit < math.MaxInt64:
		log.Info("memory limited", zap.Int64("bytes", limit))
	}
}
