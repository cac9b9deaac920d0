-- ARGV: for each knock visitor, number, epoch, signed, max; pass, its uses, until,
-- 1 where it is good before the start, and 1 where its holder waits though it
-- could be admitted.
local WAITS, ADMITTED, GONE, USED_UP = 0, 1, 2, 3

local function reenter(visitor, n, epoch, maxAt)
  local known = epoch == S.epoch and n > 0 and n <= S.issued and not unnumbered(n)
  if known and dropTurn(n) then
    -- It entered after what is left of the line was written; the seat is the same.
  elseif S.nameless > 0 then
    S.nameless = S.nameless - 1
  elseif S.capacity > 0 and inside() + turned() >= S.capacity then
    return WAITS
  end
  if known then
    clear(WAITING, n)
    put(OFF, n, 1)
    put(DONE, n, 1)
  end
  return ADMITTED, setSession(visitor, n, min(S.at + S.idle, maxAt), maxAt)
end

-- show answers a holder of a pass: outcome, session, position, whether it is
-- called, and what is used of the pass.
local function show(visitor, pass, uses, untilAt, early, waits)
  local used, ends = spentOf(pass)
  if S.at >= untilAt or used >= uses or
    not awaits(visitor, pass) and used + tonumber(call('HGET', HOLDS, pass) or '0') >= uses then
    unawait(visitor)
    return USED_UP, nil, 0, 0, used, ends
  end
  if S.limited == 0 or over() or S.mode == CLOSED or not begun() and not early then
    unawait(visitor)
    return WAITS
  end
  await(visitor, pass, S.at + S.claim)
  local before = call('ZRANK', HOLDERS, visitor)
  local called = before < room()
  if not called or waits then return WAITS, nil, before + 1, called and 1 or 0 end
  unawait(visitor)
  spend(pass, used + 1, untilAt)
  charge()
  S.passed = S.passed + 1
  S.admitted = S.admitted + 1
  local maxAt = S.at + S.max
  return ADMITTED, setSession(visitor, 0, min(S.at + S.idle, maxAt), maxAt), 0, 0, used + 1, max(ends, untilAt)
end

local function knock(visitor, n, epoch, signed, maxAt, pass, uses, untilAt, early, waits)
  if hasEnded(visitor) then return GONE end
  local s = session(visitor)
  if s then return ADMITTED, s end
  if S.s_until ~= 0 then return WAITS end
  if maxAt > S.at and signed < S.born then return reenter(visitor, n, epoch, maxAt) end
  if pass ~= '' then return show(visitor, pass, uses, untilAt, early, waits) end
  if epoch == S.epoch and unnumbered(n) then return WAITS end
  if n == 0 or epoch ~= S.epoch or n > S.issued or chunkOf(n) < S.first or has(DONE, n) then return GONE end
  if call('ZSCORE', TURNS, text(n)) then
    if not claimable() then return WAITS end
    dropTurn(n)
    return ADMITTED, enter(visitor, n, S.idle)
  end
  if n <= S.lost and not has(WAITING, n) or ended() then return GONE end
  clear(OFF, n) -- a lapsed number waits again, at the very front
  hearOne(n)
  s = quiet(visitor, n, S.idle)
  if s then return ADMITTED, s end
  return WAITS
end

-- Outcome, number, until and max of each; position, whether it is called, uses and
-- end of its pass.
local entries = {}
for i = 4, #ARGV, 10 do
  local outcome, s, position, called, used, ends = knock(
    ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]),
    ARGV[i + 5], tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7]), ARGV[i + 8] == '1', ARGV[i + 9] == '1'
  )
  entries[#entries + 1] = { outcome, s and s[2] or 0, s and s[3] or 0, s and s[4] or 0, position or 0, called or 0, used or 0, ends or 0 }
end
return reply(entries)
