-- ARGV: now, released, seats, counts of pieces, sessions and ended; the version
-- of what the operator decided, and it as decide takes it; key, source, beacon and
-- later of the draw, and whether its places are numbers; the count of passes; the
-- lowest number that was kept track of; then for each piece map, chunk, offset in bytes, bytes; for each session visitor,
-- number, until, max; for each ended visitor, until; for each pass its id, uses and
-- end. Pieces come done first, then off, then waiting, so that no one who entered
-- is marked as waiting.
if S.s_until == 0 or S.s_closing == 1 and S.s_lost == 0 then return reply({}) end
local pieces, sessions, gone, passes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[24])

if pieces + sessions + gone + passes > 0 or tonumber(ARGV[6]) > 0 then S.s_lost = 1 end

-- The line's time is what gateways expected, whatever a new server's clock says.
-- They reckon it a little late, so where the two are near the clock is followed.
local told = tonumber(ARGV[4])
if told > 0 then
  local behind = told - S.clock
  if S.s_told == 0 and S.s_behind - behind < ASTRAY then behind = max(behind, S.s_behind) end
  local ahead = behind - S.behind
  if ahead > 0 or S.s_blank == 1 and S.s_told == 0 then
    S.behind = behind
    S.s_until = S.s_until + ahead
  end
  if S.clock + S.behind < S.at then -- only the line itself, and what gateways allow, bears a date yet
    S.at = S.clock + S.behind
    S.born, S.window, S.kept = S.at, S.at, 0
    call('DEL', LIMITS)
  end
  S.s_told = 1
end
if F_EPOCH > S.epoch then newEpoch(F_EPOCH) end

if tonumber(ARGV[10]) > S.o_version then decide(10, tonumber(ARGV[10])) end

local function recallDraw(key, source, beacon, later, mapped)
  if words.draw_key == '' then words.draw_key, words.draw_source = key, source end
  if words.draw_beacon == '' and words.draw_source == source then words.draw_beacon = beacon end
  if S.later == 0 then S.later = later end
  if mapped == 1 and S.mapped == 0 and S.drawn > 0 then renumber() end
end

local i = 26
if F_EPOCH == S.epoch then
  raise(F_ISSUED, F_DRAWN)
  dropBelow(tonumber(ARGV[25]))
  local mapped = tonumber(ARGV[23])
  recallDraw(ARGV[19], ARGV[20], ARGV[21], tonumber(ARGV[22]), mapped)
  S.s_released = max(S.s_released, tonumber(ARGV[5]))
  if pieces > 0 then S.s_maps = 1 end
  for p = 0, pieces - 1 do
    local at = i + 4 * p
    local map, c, offset, bytes = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3]
    if map == 'w' then
      hearPiece(c, offset, bytes, mapped)
    else
      bytes = meant(mapped, c, offset, bytes)
      if map == 'd' then lay(DONE, c, offset, bytes) end
      lay(OFF, c, offset, bytes)
      local k = mapKey(WAITING, c)
      local before = call('BITCOUNT', k)
      if before > 0 then
        call('BITOP', 'AND', SCRATCH2, k, SCRATCH)
        call('BITOP', 'XOR', k, k, SCRATCH2)
        countAnew(c, before)
        changed(WAITING, c)
      end
      call('DEL', SCRATCH, SCRATCH2)
    end
  end
  -- What is left of the line may be from before: who entered has no turn.
  for _, n in ipairs(call('ZRANGE', TURNS, 0, -1)) do
    if has(DONE, tonumber(n)) then dropTurn(tonumber(n)) end
  end
end
i = i + 4 * pieces
S.s_seats = max(S.s_seats, tonumber(ARGV[6]))
for g = 0, gone - 1 do
  local at = i + 4 * sessions + 2 * g
  finish(ARGV[at], tonumber(ARGV[at + 1]))
end
for s = 0, sessions - 1 do
  local at = i + 4 * s
  local visitor, untilAt = ARGV[at], tonumber(ARGV[at + 2])
  local known = session(visitor)
  local later = not known or untilAt > known[3] -- another gateway may have renewed it since
  if later and not hasEnded(visitor) and untilAt + GRACE > S.at then
    setSession(visitor, tonumber(ARGV[at + 1]), untilAt, tonumber(ARGV[at + 3]))
  end
end
for p = 0, passes - 1 do
  local at = i + 4 * sessions + 2 * gone + 3 * p
  spend(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
end
return reply({})
