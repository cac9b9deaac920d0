package admission

// Settings are what an admin may change of a room while it runs.
type Settings struct {
	Limits  Limits
	Poll    Poll
	Message string

	// Networks say how much of an address is one network to Limits.JoinsPerHour.
	Networks Networks

	// ShowStock has visitors told what is left. That nothing is, all are told.
	ShowStock bool

	// Beacon names where a public value will come from that the draw is mixed
	// with; empty: none is. A draw that has begun keeps its own.
	Beacon string

	// Adaptive has the rate follow what the shop can take, up to Limits.RatePerHour.
	Adaptive Adaptive

	// OpenOnFailure lets visitors pass, at the rate, while the store is away.
	OpenOnFailure bool

	// Bind is what tickets are bound to.
	Bind Bind

	// Sharing is when a session is used by too many.
	Sharing Sharing

	// Work is what a newcomer's device must do first.
	Work Work

	// OpenAfterEnd lets everyone pass once Limits.EndAt has come, where the mode
	// is ModeAuto: there is nothing left to line up for.
	OpenAfterEnd bool
}
