// Package admission is the heart of Ropeline: the line, its pacing, presence
// and tickets. It knows nothing of HTTP.
//
// A Room is the line of one activity in one gateway. It answers each request
// of a visitor with a Verdict, most of them from its own memory: Arrive for a
// request that wants in, Peek for a look at one's place. What all gateways
// share, the line itself, lives in a Store, whose every verb is one atomic
// step on the store's own clock. Memory is the store that needs no service: one
// mutex, and a file written before the answer.
//
// Where an activity has a draw, a place is an index until the start, and its
// number is made of that by a seed that was committed to before anyone joined:
// see Lots and Drawing.
//
// The ticket is the truth and the store a cache of it: a place is a number in
// a signed token that the visitor holds, and a store that comes back with less
// than a token shows is lifted above it before it gives another number.
package admission
