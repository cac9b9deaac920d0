-- ARGV: for each knock visitor, number, epoch, signed, max.
local WAITS, ADMITTED, GONE = 0, 1, 2

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

local function knock(visitor, n, epoch, signed, maxAt)
  if hasEnded(visitor) then return GONE end
  local s = session(visitor)
  if s then return ADMITTED, s end
  if S.s_until ~= 0 then return WAITS end
  if maxAt > S.at and signed < S.born then return reenter(visitor, n, epoch, maxAt) end
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

local entries = {} -- outcome, number, until, max of each
for i = 4, #ARGV, 5 do
  local outcome, s = knock(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]))
  entries[#entries + 1] = s and { outcome, s[2], s[3], s[4] } or { outcome, 0, 0, 0 }
end
return reply(entries)
