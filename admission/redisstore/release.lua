-- ARGV: since, then the gateway's limits in the order of NAMES.
local since = tonumber(ARGV[4])

-- lesser is min where 0 is no limit.
local function lesser(a, b)
  if a == 0 or b == 0 then return max(a, b) end
  return min(a, b)
end

-- Of each limit the one that lets in fewer; of times the visitor's kinder one.
local STRICTEST = {
  mode = max, capacity = lesser, rate = lesser, burst = min, claim = max, absence = max, hold_place = max,
  idle = min, max = min, start_at = max, end_at = lesser, max_queue = lesser, stop_at = lesser, left = lesser,
  draw = min, prequeue = min,
  shut = min, -- the line is while all are
}

local function setLimits()
  local told, packed = {}, { text(S.at) }
  for i, name in ipairs(NAMES) do
    told[name] = tonumber(ARGV[4 + i])
    packed[i + 1] = text(told[name])
  end
  call('HSET', LIMITS, ARGV[1], table.concat(packed, ' '))
  touch(LIMITS)
  local all = call('HGETALL', LIMITS)
  for i = 1, #all, 2 do
    local theirs, j = {}, 0
    for word in string.gmatch(all[i + 1], '%S+') do
      local name = j == 0 and 'heard' or NAMES[j]
      if name then theirs[name] = tonumber(word) end -- else a newer build's
      j = j + 1
    end
    if S.at - theirs.heard > HEARD then
      call('HDEL', LIMITS, all[i])
    else
      if theirs.joins > 0 and (told.joins == 0 or theirs.joins < told.joins) then
        told.joins, told.join_burst = theirs.joins, theirs.join_burst
      end
      for name, stricter in pairs(STRICTEST) do told[name] = stricter(told[name], theirs[name] or 0) end -- 0: a build that knew no such limit
    end
  end
  for _, name in ipairs(NAMES) do S['t_' .. name] = told[name] end
  enforce()
end

setLimits()
for _ = 1, free() do
  local n = following()
  if n == 0 then break end
  turn(n)
  call('ZADD', TURNS, text(S.claim_clock + S.claim), text(n))
  touch(TURNS)
end

if since > S.version then since = 0 end
local pieces = {}
local changes = call('ZRANGEBYSCORE', CHANGED, '(' .. text(since), '+inf')
for _, member in ipairs(changes) do
  local map, c = string.sub(member, 1, 1), string.sub(member, 2)
  for name, letter in pairs(READ) do
    if letter == map then
      pieces[#pieces + 1] = map
      pieces[#pieces + 1] = tonumber(c)
      pieces[#pieces + 1] = call('GET', mapKey(name, tonumber(c))) or ''
    end
  end
end
local claims = {}
local all = call('ZRANGE', TURNS, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  claims[#claims + 1] = tonumber(all[i])
  claims[#claims + 1] = S.at + tonumber(all[i + 1]) - S.claim_clock
end
local gone = {}
for _, visitor in ipairs(call('ZRANGEBYSCORE', TOLD, '(' .. text(since), '+inf')) do
  local ends = call('ZSCORE', ENDED, visitor)
  if ends then
    gone[#gone + 1] = visitor
    gone[#gone + 1] = tonumber(ends)
  end
end
local spent = {}
for _, pass in ipairs(call('ZRANGEBYSCORE', SPENT, '(' .. text(since), '+inf')) do
  local uses, ends = spentOf(pass)
  spent[#spent + 1] = pass
  spent[#spent + 1] = uses
  spent[#spent + 1] = ends
end
return reply({ S.version, max(1, S.first * CHUNK), pieces, claims, gone, spent })
