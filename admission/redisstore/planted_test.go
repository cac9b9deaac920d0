package redisstore_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/admission/redisstore"
)

// planted are bugs, each of which must be caught: what a script says, what it
// says with the bug, and the test, or the case of the suite, that fails then.
var planted = []struct{ name, text, bug, caught string }{
	{"a batch is forgotten too soon", "local REMEMBER = 60 * SECOND", "local REMEMBER = 50 * SECOND", "N/ABatchSentAgainWithinAMinuteGetsTheSameAnswer"},
	{"a healed line does not leap", "S.issued = S.issued + LEAP", "", "N/AFloorAboveTheLineLeapsOnce"},
	{"a reset that comes again ends the next epoch", "if epoch >= S.epoch and (", "epoch = S.epoch if (", "N/ResetTwiceIsResetOnce"},
	{"floors are compared field by field", "epoch == epoch2 and issued > issued2", "issued > issued2", "N/FloorsAreComparedAsPairs"},
	{"a line that is not found starts anew", "if not lost and not fresh and not closes() then return end", "if not lost and not closes() then return end", "N/AGatewayWithoutAFloorDoesNotStartALostLineAnew"},

	{"newcomers pass who waits", "if free() < 1 or following() ~= n then", "if free() < 1 then", "O/ANewcomerDoesNotPassWhoWaits"},
	{"released runs ahead", "S.released = max(S.released, n)", "S.released = S.issued", "O/WhoIsAbsentIsSkippedAndCostsNoTurn"},
	{"who comes back by a poll is overlooked", "if after > 0 then S.lowest = min(S.lowest, c * CHUNK + call('BITPOS', k, 1)) end", "", "R/WhoComesBackIsChargedLikeEveryone"},
	{"a step is too long", "local MOST_RELEASES = 1000", "local MOST_RELEASES = 2000", "O/AtMostAThousandTurnsAStep"},

	{"a turn is no seat", "n = min(n, S.capacity - inside() - turned())", "n = min(n, S.capacity - inside())", "C/ATurnIsASeat"},
	{"claims run out where no turn can be used", "if claimable() then S.claim_clock = S.claim_clock + worked end", "S.claim_clock = S.claim_clock + worked", "C/LoweringEvictsNoOneAndTurnsWait"},
	{"the limits of a dead gateway stay", "local HEARD = 3 * SECOND", "local HEARD = 30 * SECOND", "C/TheLimitsOfAGatewayThatIsGoneCountForThreeSeconds"},
	{"the longer idle time counts", "idle = min, max = min", "idle = max, max = min", "C/EveryLimitIsTheStricterOfTwo"},
	{"a seat is free before its token is dead", "local GRACE = 5 * SECOND", "local GRACE = 4 * SECOND", "C/ASeatOutlivesItsTokenByFiveSeconds"},
	{"a left seat is free before all have heard", "min(tonumber(ends), S.at + 2 * TICK)", "S.at", "C/ALeftSessionFreesItsSeatTwoTicksLater"},
	{"a bot holds a seat for the whole idle time", "local idle = min(S.idle, 2 * S.claim)", "local idle = S.idle", "C/ASessionWhoseTokenNeverCameBackIsBrief"},

	{"turns are free of charge", "if S.rate > 0 then S.credit = S.credit - UNIT end", "", "R/TheBurstIsGivenOnce"},
	{"an outage earns all its time", "local CATCH_UP = 10 * SECOND", "local CATCH_UP = 3600 * SECOND", "R/AnOutageEarnsTenSecondsAtMost"},
	{"credit is saved up", "S.credit = min(S.credit + worked * S.rate, S.burst * UNIT)", "S.credit = S.credit + worked * S.rate", "R/JoinsBetweenReleasesHaveTheBurstAndNoMore"},
	{"a resumed line starts with what it had", "if held and not halted() then S.credit = 0 end", "", "R/AResumedLineStartsAtZero"},
	{"a shut line goes on", " or S.shut == 1", "", "H/ShutByAll"},
	{"one gateway shuts the line for all", "shut = min,", "shut = max,", "H/ShutByOneOfTwo"},
	{"who is to wait is admitted", "not waits and ", "", "H/ANewcomerWhoIsToWaitWaits"},
	{"credit is rounded to milliseconds", "S.credit + worked * S.rate,", "S.credit + floor(worked / 1000) * 1000 * S.rate,", "R/CreditIsExact/7/m"},

	{"asked again, the session is longer", "  if s then return ADMITTED, s end\n  if S.s_until", "  if s then return ADMITTED, enter(visitor, n, S.idle) end\n  if S.s_until", "A/AskedAgainTheSameSessionWithTheSameEnd"},
	{"a used number buys again", "chunkOf(n) < S.first or has(DONE, n) then return GONE end", "chunkOf(n) < S.first then return GONE end", "A/AUsedNumberBuysNoSecondSession"},
	{"a session that was left goes on", "  if hasEnded(visitor) then return GONE end\n", "", "C/ALeftSessionFreesItsSeatTwoTicksLater"},
	{"a renewal goes beyond the maximum", "min(S.at + S.idle, s[4])", "S.at + S.idle", "A/RenewalMovesTheEndWithinTheMaximumAndNeverBack"},
	{"a renewal moves the end back", "max(s[3], min(S.at + S.idle, s[4]))", "min(S.at + S.idle, s[4])", "A/RenewalMovesTheEndWithinTheMaximumAndNeverBack"},

	{"newcomers are not heard from", "        put(NOW, n, 1)\n", "", "P/AbsentAfterOneWindowAtTheEarliestAndTwoAtTheLatest"},
	{"the window is short", "now - S.window >= S.absence then", "now - S.window >= S.absence / 2 then", "P/AbsentAfterOneWindowAtTheEarliestAndTwoAtTheLatest"},
	{"who is off is heard from", "call('BITOP', 'XOR', SCRATCH, SCRATCH, SCRATCH2)", "", "P/PresenceNeverMarksWhoIsNotWaiting"},
	{"numbers to come are heard from", "bytes = upTo(S.issued, c, offset, bytes)", "", "P/PresenceNeverMarksWhoIsNotWaiting"},
	{"a poll brings a lost place back", "if base <= S.lost then", "if false then", "P/AnAbsentPlaceIsLostHoldPlaceAfterItWasPassed"},
	{"a place is lost too soon", "if now - tonumber(at) < S.hold_place then", "if now - tonumber(at) < S.hold_place / 2 then", "P/AnAbsentPlaceIsLostHoldPlaceAfterItWasPassed"},
	{"an outage makes all absent", "if elapsed > worked then listenAnew(now) end", "", "P/AnOutageMakesNoOneAbsent"},
	{"a reset leaves turns", "call('DEL', CHANGED, TURNS, STEPS, BATCH, BATCHES)", "call('DEL', CHANGED, STEPS, BATCH, BATCHES)", "P/ResetEndsEveryPlace"},
	{"changes are not told", "  changed(map, c)\n  if map == WAITING then", "  if map == WAITING then", "P/WhatChangedSinceAReadingIsAllThatChanged"},

	{"an unknown session enters on any token", "if maxAt > S.at and signed < S.born then", "if maxAt > S.at then", "F/AnAdmissionTokenOfThisLineThatIsNotKnownHasEnded"},
	{"the start is a microsecond late", "S.at >= S.start_at end", "S.at > S.start_at end", "H/BeforeTheStart"},
	{"the end is a microsecond late", "S.at >= S.end_at", "S.at > S.end_at", "H/AfterTheEnd"},

	{"a line settles for a second", "local SETTLE = 3 * SECOND", "local SETTLE = SECOND", "healing/ASettlingOfThreeSecondsGivesNothing"},
	{"another process goes unnoticed", "local moved = words.run and words.run ~= process", "local moved = false", "healing/AnotherProcessSettlesThoughNoFloorTellsWhatItLost"},
	{"a healed line starts with credit", "  S.credit = 0\n  local missing", "  local missing", "healing/TheLineStartsAtZeroCredit"},
	{"seats that were told are forgotten", "S.nameless = S.nameless + missing", "", "healing/ASessionNobodyBroughtEntersAgainByItsToken"},
	{"who enters again takes a second seat", "S.nameless = S.nameless - 1", "", "healing/ASessionNobodyBroughtEntersAgainByItsToken"},
	{"the first heard of after a loss is the first in line", "if S.s_maps == 0 then S.blind_until = now + S.absence end", "", "healing/NobodyCouldBePresentWhereNobodyBroughtAMap"},
	{"a session ends as the first gateway remembers it", "not known or untilAt > known[3]", "not known", "healing/TheLatestEndOfASessionSurvives"},
	{"the line's time runs back", "    S.behind = behind\n", "", "healing/TheLinesTimeNeverRunsBack"},
	{"the line's time leaps to a new server's clock", "    S.behind = S.at - clock\n", "", "healing/ANewServersClockDoesNotMoveTheLine"},
	{"the line's time stands though nobody knows better than the clock", "S.at, S.behind = now, S.s_behind", "", "healing/AServerThatNobodyRemembersGoesByItsClock"},
	{"what was over long since is open again", "  dropBelow(tonumber(ARGV[25]))\n", "", "healing/NumbersThatNobodyKeptTrackOfAreOver"},
	{"a turn that was used stands again", "if has(DONE, tonumber(n)) then dropTurn(tonumber(n)) end", "", "healing/ACopyThatIsBehindIsBroughtUpToDate"},

	{"a position is one too many", "0, n % CHUNK - 1, 'BIT'", "0, n % CHUNK, 'BIT'", "identity/TheSameIdentityHasTheSamePlaceOnEveryGateway"},
	{"an identity brings a lapsed turn back", "n > S.issued or has(OFF, n) or n <= S.lost", "n > S.issued or n <= S.lost", "identity/ALapsedPlaceIsTheSamePlace"},
	{"an identity goes on after leaving", "local s = not hasEnded(visitor) and session(visitor)\n  if s then\n", "local s = session(visitor)\n  if s then\n", "identity/WhoseStayIsOverIsNew"},
	{"an identity keeps its number over a reset", "if epoch ~= S.epoch then return false end", "if not n then return false end", "identity/WhosePlaceIsGivenUpLostOrResetIsNew"},
	{"an identity of one place gets another", "if once then place(SPENT, 0, '') end\n    return once", "return false", "identity/WhoGetsOnePlaceOnlyIsSpentWhenThatIsOver"},
	{"a batch that comes again splits an identity", "if known == n then visitor = first end", "", "identity/ABatchThatComesAgainIsAnsweredAlike"},

	{"a network has one more", "local open = used - each * S.join_burst", "local open = used - each * (S.join_burst + 1)", "throttle/ABurstThenOneInEachInterval"},
	{"asking too early puts it off", "if open > S.at then return open - S.at end", "if open > S.at then call('SET', throttleKey(network), text(used)) return open - S.at end", "throttle/ABurstThenOneInEachInterval"},
	{"all networks are one", "'throttle:ip:' .. tag .. ':' .. network", "'throttle:ip:' .. tag .. ':'", "throttle/OtherNetworksGoOn"},
	{"a batch that comes again counts again", "throttle(ARGV[i + 2], false)", "throttle(ARGV[i + 2], true)", "throttle/ABatchThatComesAgainIsAnsweredAlikeAndNotCounted"},

	{"a decided rate is not reached", "S.burst = max(S.burst, 2, math.ceil(2 * S.rate * TICK / UNIT))", "", "override/ARateAboveTheBurstOfTheFilesIsReached"},
	{"an old decision undoes a new one", "if tonumber(ARGV[10]) > S.o_version then", "if tonumber(ARGV[10]) > 0 then", "override/AMemoryOfAnEarlierDecisionUndoesNothing"},
	{"a decision undoes one that its maker did not know", "if known >= S.o_version then", "if true then", "override/ADecisionThatDidNotKnowTheLastChangesNothing"},
	{"a decision after a loss is of an old version", "decide(4, known + 1)", "decide(4, S.o_version + 1)", "override/WhatIsDecidedAfterALossIsNotUndoneByMemories"},

	{"a line is full too late", "S.waiting >= S.max_queue", "S.waiting > S.max_queue", "stock/AFullLineTakesNoOneNew"},
	{"who finds the line full counts for the network", "local wait = not crowded and throttle(network, true) or 0", "local wait = throttle(network, true)", "stock/WhoFindsItFullTakesNoNumberAndCountsForNoNetwork"},
	{"who found the line full gets a number when asked again", "(-?%d+)%+", "(%d+)%+", "stock/ABatchThatComesAgainIsAnsweredAlike"},
	{"the stock counts one too many", "S.waiting >= S.stop_at * (S.left - 1)", "S.waiting >= S.stop_at * S.left", "stock/JoiningStopsAtAMultipleOfTheStock"},
	{"a stock that is not counted is none", "S.stop_at > 0 and S.left > 0 and", "S.stop_at > 0 and", "stock/AStockThatIsNotCountedStopsNothing"},
	{"what is sold out is still given", "return ended() or S.left == 1 end", "return ended() end", "stock/SoldOutGivesNothingAndTakesNothing"},
	{"what is sold out takes the places", "or ended() then return GONE", "or over() then return GONE", "stock/SoldOutGivesNothingAndTakesNothing"},

	{"indexes are given before the prequeue", "S.at >= S.start_at - S.prequeue", "true", "draw/NobodyJoinsBeforeThePrequeue"},
	{"indexes are given before the key is pinned", "return words.draw_key ~= '' and S.drawn == 0 and S.draw == 1", "return S.drawn == 0 and S.draw == 1", "draw/NobodyJoinsADrawThatIsNotCommitted"},
	{"the key can be changed", "if words.draw_key == '' and ARGV[4]", "if ARGV[4]", "draw/TheKeyAndTheSourceArePinnedOnce"},
	{"a line that gave numbers is committed to a draw", "not begun() and S.issued == 0) then", "not begun()) then", "draw/NumbersThatWereGivenAreNotDrawn"},
	{"a draw is committed to after its start", "S.draw == 1 and not begun() and S.issued == 0) then", "S.draw == 1 and S.issued == 0) then", "draw/AfterTheStartNobodyIsCommitted"},
	{"the start closes nothing", "if not lost and not fresh and not closes() then return end", "if not lost and not fresh then return end", "draw/AJoinAtTheStartStandsBehindTheDrawn"},
	{"the start counts as a loss", "if S.s_lost == 0 then\n    S.s_until = 0\n    return\n  end", "", "draw/TheStartTakesThreeSecondsAndNothingElse"},
	{"memories change a line that only closes", " or S.s_closing == 1 and S.s_lost == 0 then return reply({}) end", " then return reply({}) end", "draw/TheStartTakesThreeSecondsAndNothingElse"},
	{"N is no multiple of 64", "math.ceil(max(S.issued, 1) / 64) * 64", "max(S.issued, 1)", "draw/AJoinAtTheStartStandsBehindTheDrawn"},
	{"an index nobody told of has the number of a newcomer", "if closing then S.later = S.issued end", "", "draw/NCoversTheHighestIndexOfAnyGateway"},
	{"N follows the highest floor", "if S.drawn == 0 then S.drawn = drawn end", "S.drawn = max(S.drawn, drawn)", "draw/NIsWrittenOnce"},
	{"turns are given by index", "or over() or drawing() then return 0 end", "or over() then return 0 end", "draw/NoTurnBeforeAllPlacesAreNumbers"},
	{"a knock by index counts", "  if epoch == S.epoch and unnumbered(n) then return WAITS end\n", "", "draw/NoTurnBeforeAllPlacesAreNumbers"},
	{"the maps are written twice", "or S.mapped == 1 then return reply({}) end", "then return reply({}) end", "draw/TheMapsAreWrittenOnce"},
	{"maps of an earlier reading are taken", "since >= S.stirred and", "", "draw/MapsOfAnEarlierReadingArePassedOver"},
	{"who left is drawn", "and means(F_MAPPED, n) then S.stirred = S.version end", "then end", "draw/MapsOfAnEarlierReadingArePassedOver"},
	{"the draw forgets who came after the start", "call('SET', SCRATCH, beyond(S.drawn, c, 0, string.rep('\\255', BYTES)))", "call('SET', SCRATCH, '')", "draw/AJoinDoesNotPutTheDrawOff"},
	{"marks by index are taken for numbers", "  bytes = meant(mapped, c, offset, bytes)\n  if bytes == '' then return end", "", "draw/MarksByIndexAreNobodysAfterTheDraw"},
	{"who leaves by index gives up another's place", "return mapped == S.mapped or not draws() or S.drawn > 0 and n > S.drawn end", "return true end", "draw/MarksByIndexAreNobodysAfterTheDraw"},
	{"the value is taken before the start", "if S.drawn == 0 or words.draw_key == '' or", "if words.draw_key == '' or", "draw/WithASourceTheDrawWaitsForItsValue"},
	{"the value can be changed", "if words.draw_source ~= '' and words.draw_beacon == '' then", "if words.draw_source ~= '' then", "draw/WithASourceTheDrawWaitsForItsValue"},
	{"drawn without the value", " and (words.draw_source == '' or words.draw_beacon ~= '') then", " then", "draw/WithASourceTheDrawWaitsForItsValue"},
	{"an identity whose place is over has it for ever", "if n == over and indexed(n) then return false end", "", "draw/AnIdentityHasItsIndexAndANewPlaceWhenThatIsOver"},
	{"an index is told as the number of a session", "{ n, position, s and s[2] or 0,", "{ n, position, s and n or 0,", "draw/AnIdentityInsideIsToldItsNumberNotItsIndex"},
	{"a reset keeps the draw", "words.draw_key, words.draw_source, words.draw_beacon = '', '', ''", "", "draw/AResetBeginsAnotherDraw"},
	{"a floor with N goes unnoticed", "F_EPOCH == S.epoch and (F_DRAWN > 0 and S.drawn == 0 or", "F_EPOCH == S.epoch and (false or", "draw/ACopyFromBeforeAMovedStartGivesNoMoreIndexes"},
	{"the key is lost with the line", "if words.draw_key == '' then words.draw_key, words.draw_source = key, source end", "", "draw/ALossInThePrequeueKeepsEveryoneInTheDraw"},
	{"a healed line takes indexes for numbers", "  local mapped = tonumber(ARGV[23])", "  local mapped = S.mapped", "draw/ALossAfterTheDrawKeepsItsNumbers"},

	{"who waits is let in before a holder", "return max(0, room() - S.awaited)", "return room()", "passes/AHolderEntersBeforeEverybodyWhoWaits"},
	{"a later holder is let in before", "local called = before < room()", "local called = room() > 0", "passes/HoldersEnterInTheOrderInWhichTheyCame"},
	{"a pass is free of charge", "  charge()\n  S.passed", "  S.passed", "passes/HoldersTakeOfCapacityAndRateLikeOthers"},
	{"a use is not counted", "  spend(pass, used + 1, untilAt)\n", "", "passes/APassHasAsManyUsesAsItSays"},
	{"two hold the same use", "and used + tonumber(call('HGET', HOLDS, pass) or '0') >= uses then", "and false then", "passes/AHolderWhoGoesAwayTakesNoUseAndHoldsTheLineUpForAClaim"},
	{"a holder who went away is awaited for ever", "for _, visitor in ipairs(call('ZRANGEBYSCORE', HELD, '-inf', text(now))) do unawait(visitor) end", "", "passes/AHolderWhoGoesAwayTakesNoUseAndHoldsTheLineUpForAClaim"},
	{"every pass is good before the start", "or not begun() and not early then", "then", "passes/BeforeTheStartOnlyByAPassThatSaysSo"},
	{"a pass outlives its end", "if S.at >= untilAt or used >= uses or", "if used >= uses or", "passes/APassThatHasEndedIsWorthNothing"},
	{"a reset gives uses back", "call('DEL', CHANGED, TURNS, STEPS, BATCH, BATCHES)", "call('DEL', CHANGED, TURNS, STEPS, BATCH, BATCHES, PASS)", "passes/AResetGivesNoUseBack"},
	{"a loss gives uses back", "  spend(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))\n", "", "passes/UsesSurviveALossByWhatGatewaysRemember"},
	{"what is used is kept for ever", "    forgetSpent()\n", "", "passes/WhatIsUsedIsReadOnceAndForgottenAtTheEnd"},

	{"no capacity of one gateway is none of all", "capacity = lesser", "capacity = min", differential},
	{"lost places are noted seldom", "now - S.step_at >= S.hold_place / 60", "now - S.step_at >= S.hold_place / 6", differential},

	{"a key loses its expiry", "touch(waiting) -- BITOP takes a key's expiry away", "", hygiene},
	{"a key is not renewed in time", "for c = S.first, lastChunk() do\n      for _, map in ipairs(MAPS) do touch(mapKey(map, c)) end\n    end", "", hygiene},
	{"a key has another tag", "local ENDED = 'queue:ended:' .. tag", "local ENDED = 'queue:ended'", hygiene},
}

// differential stands for the lives that are lived on two stores.
const differential = "TestStore_AnswersLikeTheMemoryStore"

const hygiene = "TestKeys_ShareATagExpireAndTellNoOne"

// plantedKey names the bug that a test process has in its scripts.
const plantedKey = "REDISSTORE_PLANTED"

// plantedHere returns what plants the bug of this process; nil for none.
func plantedHere(t *testing.T) func(text string) string {
	name := os.Getenv(plantedKey)
	if name == "" {
		return nil
	}
	for _, p := range planted {
		if p.name == name {
			return func(text string) string { return strings.Replace(text, p.text, p.bug, 1) }
		}
	}
	t.Fatalf("no bug is called %q", name)
	return nil
}

// TestStore_PlantedBugsAreCaught runs the case of each bug in a process that
// has it in its scripts.
func TestStore_PlantedBugsAreCaught(t *testing.T) {
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			found := 0
			for _, text := range redisstore.Texts() {
				found += strings.Count(text, p.text)
			}
			if found != 1 {
				t.Fatalf("%q stands %d times in the scripts, want once", p.text, found)
			}
			run := "^" + p.caught + "$"
			if !strings.HasPrefix(p.caught, "Test") {
				run = "^TestStore_KeepsTheRules$/^" + strings.ReplaceAll(p.caught, "/", "$/^") + "$"
			}
			cmd := exec.Command(os.Args[0], "-test.run="+run, "-rapid.checks=60", "-rapid.shrinktime=0s", "-rapid.nofailfile")
			cmd.Env = append(os.Environ(), plantedKey+"="+p.name, "TMPDIR="+t.TempDir())
			said, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case err == nil:
				t.Errorf("not caught by %s", p.caught)
			case !errors.As(err, &exit) || !strings.Contains(string(said), "--- FAIL: "+strings.Split(run[1:], "$")[0]):
				t.Errorf("the run ended with %v:\n%s", err, said)
			case strings.Contains(string(said), "user_script"), strings.Contains(string(said), "panic:"):
				t.Errorf("the script with the bug does not run:\n%s", said)
			}
		})
	}
}
