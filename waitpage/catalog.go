package waitpage

// A catalog holds every sentence that a visitor may read, in one language.
// Sentences name what is filled in: {name} an activity, {n} a number, {time} a
// span of time. Of two forms the first is for one, the second for many.
type catalog struct {
	lang    string // BCP 47
	group   string // between thousands
	instant string // layout of a point in time, for who cannot show their own

	nameless string // stands for an activity without a name

	waitingTitle    string // where the position is not known; else it is the title
	waitingAt       string
	waitingAnywhere string
	ahead, behind   [2]string
	next            string
	left            [2]string
	tooFew          string
	waitingNote     string
	lapsedNote      string
	paused          string
	pausedNote      string

	waitLabel, waitUnknown               string
	waitMinute, waitUpTo, waitAbout      string
	waitDays                             string
	minute, minutes, hours               string
	second, secondsMany                  string
	beforeTitle, beforeClock, beforeOpen string
	beforePlace, beforeTicket            string
	beforeLabel, beforeNote              string

	drawingTitle, drawing, drawingDetail          string
	readyTitle, ready, readyDetail, readyNote     string
	endedTitle, ended, endedDetail                string
	soldTitle, sold, soldDetail                   string
	fullTitle, full, fullDetail                   string
	closedTitle, closed, closedDetail             string
	again                                         string
	momentTitle, moment, momentDetail, momentAway string
	awayTitle, away, awayDetail                   string

	fixed fixed
}

// fixed are the sentences that the page carries whatever the status is: some
// are shown while the gateway cannot be asked.
type fixed struct {
	Live, Away                             string
	Lost, LostWhy, LostJoin                string
	Ticket, Leave, LeaveSure               string
	NoScript, Check                        string
	FormKept, FormLost, FormSend, FormSkip string
}

var english = catalog{
	lang:    "en",
	group:   ",",
	instant: "2 January 2006, 15:04 UTC",

	nameless: "This sale",

	waitingTitle:    "In line",
	waitingAt:       "You are number {n} in line",
	waitingAnywhere: "You are in line",
	ahead:           [2]string{"1 person is ahead of you.", "{n} people are ahead of you."},
	behind:          [2]string{"1 person is behind you.", "{n} people are behind you."},
	next:            "You are next.",
	left:            [2]string{"1 is left.", "{n} are left."},
	tooFew:          "There may be none left when your turn comes.",
	lapsedNote:      "Your turn came and went while you were away. You are at the front again.",
	paused:          "The line is paused",
	waitingNote:     "You will be let in automatically when your turn comes. Reloading does not cost you your place, and if you close this page it is kept for a while.",
	pausedNote:      "Nobody is let in right now. Your place is kept, and this page carries on automatically.",

	waitLabel:   "Estimated wait",
	waitUnknown: "we will know soon",
	waitMinute:  "less than a minute",
	waitUpTo:    "up to {time}",
	waitAbout:   "about {time}",
	waitDays:    "more than a day",
	minute:      "1 minute",
	minutes:     "{n} minutes",
	hours:       "{n} hours",
	second:      "1 second",
	secondsMany: "{n} seconds",

	beforeTitle:  "Soon",
	beforeClock:  "Opens in",
	beforeOpen:   "Not open yet",
	beforePlace:  "You are already in line, at number {n}.",
	beforeTicket: "You are already in line.",
	beforeLabel:  "Opens",
	beforeNote:   "There is nothing to do until then: this page carries on automatically.",

	drawingTitle:  "Drawing",
	drawing:       "The draw is being made",
	drawingDetail: "Everyone who came before the start gets a random place. Yours appears here in a moment.",

	readyTitle:  "Your turn",
	ready:       "It is your turn",
	readyDetail: "You can go in now.",
	readyNote:   "Your turn is kept for {time}.",

	endedTitle:  "Over",
	ended:       "{name} is over",
	endedDetail: "Thank you for coming.",

	soldTitle:  "Sold out",
	sold:       "{name} is sold out",
	soldDetail: "If some become available again, the line carries on, and places in it are kept.",

	fullTitle:  "Full",
	full:       "The line is full",
	fullDetail: "So many people are waiting that no one else can join right now.",

	closedTitle:  "Closed",
	closed:       "Closed for the moment",
	closedDetail: "{name} takes no visitors right now.",

	again: "This page checks again automatically.",

	momentTitle:  "One moment",
	moment:       "One moment, please",
	momentDetail: "You will join the line in a moment.",
	momentAway:   "The line cannot be reached right now. You will join it as soon as it is back: there is nothing you need to do.",

	awayTitle:  "Your place is kept",
	away:       "Your place is kept",
	awayDetail: "The line cannot be reached right now. It carries on as soon as it is back: there is nothing you need to do.",

	fixed: fixed{
		Live:      "Up to date",
		Away:      "No answer right now. Your place is kept, and this page keeps trying.",
		Lost:      "Your place is no longer held",
		LostWhy:   "You left the line, or were away for too long, or this browser does not keep cookies.",
		LostJoin:  "Join the line again",
		Ticket:    "Ticket",
		Leave:     "Leave the line",
		LeaveSure: "Give up my place",
		NoScript:  "This page checks again every half minute.",
		Check:     "Check now",
		FormKept:  "Your form was not sent, because there is a line first. What you filled in is kept on this page: you can send it again when your turn comes.",
		FormLost:  "Your form was not sent, because there is a line first. When your turn comes, go back and send it again.",
		FormSend:  "Send again",
		FormSkip:  "Continue without sending",
	},
}
