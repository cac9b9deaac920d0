-- ARGV: batch, then for each newcomer visitor, identity, network, over, 1 where it
-- waits though it could be admitted, and how many seconds its identity is
-- remembered if that gets one place only, or 0; identity and network are hashes,
-- or empty where they are not looked at.
local batch = ARGV[4]
local IDENTITY_TIME = 7 * 24 * 3600

-- What a newcomer gets in place of a number: too many came from the network, or
-- too many wait, or the identity had its one place.
local NONE, FULL, SPENT = 0, -1, -2

-- Of each: number (or one of these), position, number, until and max of its
-- session, retry after, whether the first number is an index, visitor.
local places = {}
local function place(n, position, visitor, s, retry)
  if indexed(n) then position = 0 end
  places[#places + 1] = { n, position, s and s[2] or 0, s and s[3] or 0, s and s[4] or 0, retry or 0, indexed(n) and 1 or 0, visitor }
end

local function identityKey(identity) return 'user:queue:' .. tag .. ':' .. identity end
local function throttleKey(network) return 'throttle:ip:' .. tag .. ':' .. network end

-- ticketOf returns number, epoch and visitor of an identity that came before.
local function ticketOf(identity)
  if identity == '' then return nil end
  local kept = call('GET', identityKey(identity))
  if not kept then return nil end
  local n, epoch, visitor = string.match(kept, '(%d+):(%d+):(.*)')
  -- Of one that gets one place only the end of its memory, by the line's time,
  -- stands before the visitor.
  local last, who = string.match(visitor, '^(%d+):(.*)')
  if last and S.at >= tonumber(last) then return nil end
  return tonumber(n), tonumber(epoch), who or visitor
end

-- knownPlace answers an identity that still has a place or a session, or had
-- the one it gets.
local function knownPlace(identity, over, once)
  local n, epoch, visitor = ticketOf(identity)
  if epoch ~= S.epoch then return false end -- a number of another epoch is someone else's in this
  if n == over and indexed(n) then return false end
  local s = not hasEnded(visitor) and session(visitor)
  if s then
    place(n, 0, visitor, s)
    return true
  end
  if indexed(n) and S.mapped == 1 then -- who knows its number knows the rest
    place(n, 0, visitor)
    return true
  end
  local turn = call('ZSCORE', TURNS, text(n))
  if chunkOf(n) < S.first or has(DONE, n) or n <= S.lost and not has(WAITING, n) and not turn then
    if once then place(SPENT, 0, '') end
    return once
  end
  hearOne(n)
  place(n, has(WAITING, n) and rank(n) + 1 or 1, visitor)
  return true
end

-- throttle counts a join of a network, or returns how long it must wait: the
-- generic cell rate algorithm (ITU-T I.371).
local function throttle(network, count)
  if network == '' or S.joins == 0 then return 0 end
  local each = floor(UNIT / S.joins)
  local used = max(tonumber(call('GET', throttleKey(network)) or '0'), S.at) + each
  local open = used - each * S.join_burst
  if open > S.at then return open - S.at end
  -- The minute is for a line whose time stands still until its server's clock
  -- has caught up with it.
  if count then call('SET', throttleKey(network), text(used), 'EX', floor((used - S.at) / SECOND) + 60) end
  return 0
end

-- A batch is remembered as runs of numbers that follow each other, as
-- first+count; a newcomer who got none is NONE+1, FULL+1 or SPENT+1.
local function packed(given)
  local runs = {}
  local first, count = nil, 0
  for _, n in ipairs(given) do
    if first and first > 0 and n == first + count then
      count = count + 1
    else
      if first then runs[#runs + 1] = text(first) .. '+' .. text(count) end
      first, count = n, 1
    end
  end
  runs[#runs + 1] = text(first) .. '+' .. text(count)
  return table.concat(runs, ',')
end

local function unpacked(runs)
  local given = {}
  for first, count in string.gmatch(runs, '(-?%d+)%+(%d+)') do
    for i = 0, tonumber(count) - 1 do given[#given + 1] = tonumber(first) + i end
  end
  return given
end

local numbers = call('HGET', BATCH, batch)
if numbers then
  local i = 5
  for _, n in ipairs(unpacked(numbers)) do
    local visitor = ARGV[i]
    local known, _, first = ticketOf(ARGV[i + 1])
    if known == n then visitor = first end
    if n == FULL or n == SPENT then
      place(n, 0, '')
    elseif n == NONE then
      place(NONE, 0, '', nil, max(TICK, throttle(ARGV[i + 2], false)))
    else
      local s = not hasEnded(visitor) and session(visitor)
      place(n, not s and has(WAITING, n) and rank(n) + 1 or 0, visitor, s)
    end
    i = i + 6
  end
elseif S.s_until == 0 and S.limited == 1 and S.mode ~= CLOSED and (begun() or indexing()) and not over() then
  -- No token came back from these visitors yet: a bot, a prefetch or a curl
  -- must not hold a seat for the whole idle time.
  local idle = min(S.idle, 2 * S.claim)
  for i = 5, #ARGV, 6 do
    local visitor, identity, network, waits = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 4] == '1'
    local once = tonumber(ARGV[i + 5])
    if not knownPlace(identity, tonumber(ARGV[i + 3]), once > 0) then
      local crowded = full()
      local wait = not crowded and throttle(network, true) or 0
      if crowded then
        place(FULL, 0, '')
      elseif wait > 0 then
        place(NONE, 0, '', nil, wait)
      else
        S.issued = S.issued + 1
        local n = S.issued
        put(NOW, n, 1)
        put(WAITING, n, 1)
        if identity ~= '' then
          local last = once > 0 and text(S.at + once * SECOND) .. ':' or ''
          -- The minute is as in throttle.
          call('SET', identityKey(identity), text(n) .. ':' .. text(S.epoch) .. ':' .. last .. visitor, 'EX', once > 0 and once + 60 or IDENTITY_TIME)
        end
        local s = not waits and quiet(visitor, n, idle) or nil
        place(n, s and 0 or S.waiting, visitor, s)
      end
    end
  end
  local given = {}
  for i, p in ipairs(places) do given[i] = p[1] end
  call('HSET', BATCH, batch, packed(given))
  call('ZADD', BATCHES, text(S.at + REMEMBER), batch)
  touch(BATCH)
  touch(BATCHES)
end
return reply(places)
