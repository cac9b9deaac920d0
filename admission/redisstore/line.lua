-- The line as a Redis script: every verb's script begins with this text, and
-- ends with reply(). It is the line of package admission in another language: the same
-- steps in the same order, under the same names. Read that first.
--
-- KEYS[1] is queue:seq:{tenant:activity}; all other keys share its hash tag, so
-- that a line is in one slot of a cluster. ARGV is gateway, epoch of the floor
-- it knows, issued:drawn:mapped of it, then the verb's own.
--
-- Numbers are doubles, exact below 2^53: microseconds and credit stay under it
-- (see MaxRatePerHour), and text is made of them by '%.0f' alone.

local SECOND = 1000000
local TICK = 250000
local UNIT = 3600 * SECOND
local CATCH_UP = 10 * SECOND
local SETTLE = 3 * SECOND
local ASTRAY = 5 * SECOND
local HEARD = 3 * SECOND
local REMEMBER = 60 * SECOND
local GRACE = 5 * SECOND
local LEAP = 1048576
local MOST_RELEASES = 1000
local MOST_STEPS = 64
local CHUNK = 131072
local BYTES = CHUNK / 8
local OPEN, AUTO, HOLD, CLOSED = 0, 1, 2, 3

local tag = string.sub(KEYS[1], 11)
local SEQ = KEYS[1]
local ACTIVE = 'queue:active:' .. tag -- sessions by end
local VISIT = 'queue:visit:' .. tag -- session: number, until, max
local TURNS = 'queue:turns:' .. tag -- turns by end of claim, by the claim clock
local ENDED = 'queue:ended:' .. tag -- sessions that ended early, by end of their last token
local TOLD = 'queue:told:' .. tag -- the same, by version
local STEPS = 'queue:steps:' .. tag -- when released was what
local LIMITS = 'queue:limits:' .. tag -- what each gateway allows
local BATCH = 'queue:batch:' .. tag -- first number of each batch of joins
local BATCHES = 'queue:batches:' .. tag -- batches by end of memory
local CHANGED = 'queue:changed:' .. tag -- map and chunk by version of the last change
local PASS = 'queue:pass:' .. tag -- what is used of a pass: uses, end of the pass
local PASSES = 'queue:passes:' .. tag -- passes by their end
local SPENT = 'queue:spent:' .. tag -- the same, by version
local HOLDER = 'queue:holder:' .. tag -- holder of a pass who is awaited: pass
local HOLDERS = 'queue:holders:' .. tag -- the same, in the order in which they came
local HELD = 'queue:held:' .. tag -- the same, by the instant until which each is awaited
local HOLDS = 'queue:holds:' .. tag -- how many of them hold a use of each pass
local FIXED = {
  SEQ, ACTIVE, VISIT, TURNS, ENDED, TOLD, STEPS, LIMITS, BATCH, BATCHES, CHANGED,
  PASS, PASSES, SPENT, HOLDER, HOLDERS, HELD, HOLDS,
}
local USED = { [PASS] = true, [PASSES] = true, [SPENT] = true } -- kept until the last pass has ended

local call = redis.call
local function text(n) return string.format('%.0f', n) end

-- Maps over numbers, a key for each chunk of 2^17.
local NOW, LAST, WAITING, OFF, DONE = 'live:now', 'live:last', 'live:all', 'off', 'done'
local MAPS = { NOW, LAST, WAITING, OFF, DONE }
local PREFIX = {
  [NOW] = 'queue:live:' .. tag .. ':now:', [LAST] = 'queue:live:' .. tag .. ':last:',
  [WAITING] = 'queue:live:' .. tag .. ':all:', [OFF] = 'queue:off:' .. tag .. ':', [DONE] = 'queue:done:' .. tag .. ':',
}
local READ = { [WAITING] = 'w', [OFF] = 'o', [DONE] = 'd' } -- what gateways read
local SCRATCH = 'queue:scratch:' .. tag
local SCRATCH2 = 'queue:scratch2:' .. tag

local floor, min, max = math.floor, math.min, math.max

-- State: S holds the numbers of the line, as kept in the hash SEQ; one that
-- was never set is 0. Besides what line.go has under the same names:
--   clock, behind            the server's clock, and what the line's time is ahead of it
--   waiting, lowest, first   how many wait, a bound below them, the first chunk that is kept
--   step_at, step_released   the last of STEPS
--   s_until …                the settling; s_until 0: whole. s_lost: there was a line before
--   s_behind, s_told         how far the line's time was ahead of the last server's clock;
--                            whether a gateway has told it since
--   s_blank                  1 where nothing is known but what was told since
--   limited                  1 when limits were ever told
--   kept                     when the expiry of all keys was renewed
--   awaited, came            how many holders of passes are awaited, and how many ever were
--   o_version, o_mode …      what an operator decided; 0 is nothing and all else one more than it says
local S = setmetatable({}, { __index = function() return 0 end })
local words = { run = false, message = '', draw_key = '', draw_source = '', draw_beacon = '' } -- the fields that are text
local was = {} -- S as it was read
local fresh = true
do
  local raw = call('HGETALL', SEQ)
  fresh = #raw == 0
  for i = 1, #raw, 2 do
    local name = raw[i]
    if words[name] ~= nil then
      words[name] = raw[i + 1]
      was[name] = raw[i + 1]
    else
      local n = tonumber(raw[i + 1])
      S[name], was[name] = n, n
    end
  end
end
-- The limits, in the order in which gateways tell them. With t_ before them
-- they are the strictest that gateways told lately, without it those in force.
local NAMES = {
  'mode', 'capacity', 'rate', 'burst', 'claim', 'absence', 'hold_place', 'idle', 'max', 'joins', 'join_burst', 'start_at', 'end_at',
  'max_queue', 'stop_at', 'left', -- left: 0 is not counted and all else one more than there is
  'draw', 'prequeue', 'shut',
}

local touched = {} -- keys written in this step, whose expiry is renewed
local noted = {} -- keys whose change was noted in this step
local function touch(k) touched[k] = true end
local function drop(k)
  call('DEL', k)
  touched[k], noted[k] = nil, nil
end

local F_EPOCH, F_ISSUED, F_DRAWN, F_MAPPED = tonumber(ARGV[2]), string.match(ARGV[3], '(%d+):(%d+):(%d)')
F_ISSUED, F_DRAWN, F_MAPPED = tonumber(F_ISSUED), tonumber(F_DRAWN), tonumber(F_MAPPED)
local function above(epoch, issued, epoch2, issued2)
  return epoch > epoch2 or epoch == epoch2 and issued > issued2
end

-- marks ---------------------------------------------------------------------

local function chunkOf(n) return floor(n / CHUNK) end
local function mapKey(map, c) return PREFIX[map] .. text(c) end
local function lastChunk() return chunkOf(S.issued) end

-- changed notes a change of a chunk, once in a step.
local function changed(map, c)
  local k = mapKey(map, c)
  touch(k)
  if READ[map] and not noted[k] then
    noted[k] = true
    call('ZADD', CHANGED, text(S.version), READ[map] .. text(c))
    touch(CHANGED)
  end
end

local function has(map, n)
  return call('GETBIT', mapKey(map, chunkOf(n)), n % CHUNK) == 1
end

local function put(map, n, bit)
  local c = chunkOf(n)
  if c < S.first then return false end
  if call('SETBIT', mapKey(map, c), n % CHUNK, bit) == bit then return false end
  changed(map, c)
  if map == WAITING then
    if bit == 1 then
      S.waiting = S.waiting + 1
      S.lowest = min(S.lowest, n)
    else
      S.waiting = S.waiting - 1
    end
  end
  return true
end

-- clear takes a number out of a map without making its chunk.
local function clear(map, n)
  if has(map, n) then put(map, n, 0) end
end

-- following returns the lowest number present and waiting, or 0.
local function following()
  if S.waiting == 0 then return 0 end
  local from = max(S.lowest, S.first * CHUNK)
  for c = chunkOf(from), lastChunk() do
    local start = 0
    if c == chunkOf(from) then start = floor((from % CHUNK) / 8) end
    local at = call('BITPOS', mapKey(WAITING, c), 1, start)
    if at >= 0 then
      S.lowest = c * CHUNK + at
      return S.lowest
    end
  end
  return 0
end

-- rank counts the numbers present and waiting below n.
local function rank(n)
  local count = 0
  for c = S.first, chunkOf(n) do
    if c < chunkOf(n) then
      count = count + call('BITCOUNT', mapKey(WAITING, c))
    elseif n % CHUNK > 0 then
      count = count + call('BITCOUNT', mapKey(WAITING, c), 0, n % CHUNK - 1, 'BIT')
    end
  end
  return count
end

-- countAnew takes the waiting of a chunk that was written whole.
local function countAnew(c, before)
  local k = mapKey(WAITING, c)
  local after = call('BITCOUNT', k)
  S.waiting = S.waiting + after - before
  if after > 0 then S.lowest = min(S.lowest, c * CHUNK + call('BITPOS', k, 1)) end
end

-- upTo cuts what is above number last off bytes that stand for numbers from
-- c*CHUNK + 8*offset on.
local function upTo(last, c, offset, bytes)
  local room = last - c * CHUNK + 1 - 8 * offset
  if room <= 0 then return '' end
  if #bytes * 8 <= room then return bytes end
  local whole, part = floor(room / 8), room % 8
  local cut = string.sub(bytes, 1, whole)
  if part > 0 then
    local b = string.byte(bytes, whole + 1)
    cut = cut .. string.char(b - b % 2 ^ (8 - part))
  end
  return cut
end

-- beyond clears what is up to number last in such bytes.
local function beyond(last, c, offset, bytes)
  local under = last - c * CHUNK + 1 - 8 * offset
  if under <= 0 then return bytes end
  local whole, part = floor(under / 8), under % 8
  if whole >= #bytes then return '' end
  local b = string.byte(bytes, whole + 1)
  return string.rep('\0', whole) .. string.char(b % 2 ^ (8 - part)) .. string.sub(bytes, whole + 2)
end

-- the draw: see drawing.go ------------------------------------------------------

local function begun() return S.start_at == 0 or S.at >= S.start_at end
local function draws() return words.draw_key ~= '' or S.drawn > 0 end
local function drawing() return draws() and S.mapped == 0 end
local function indexed(n) return n > 0 and draws() and (S.drawn == 0 or n <= S.drawn) end
local function unnumbered(n) return S.mapped == 0 and indexed(n) end
local function indexing()
  return words.draw_key ~= '' and S.drawn == 0 and S.draw == 1 and not begun() and S.at >= S.start_at - S.prequeue
end
local function closes() return S.limited == 1 and words.draw_key ~= '' and S.drawn == 0 and begun() end

local function closeIndexes()
  S.drawn = math.ceil(max(S.issued, 1) / 64) * 64
  S.issued = S.drawn
  S.later = S.issued
end

local function means(mapped, n) return mapped == S.mapped or not draws() or S.drawn > 0 and n > S.drawn end

-- meant returns what a caller, mapped or not, means as the line does by bytes
-- that stand for places from c*CHUNK + 8*offset on.
local function meant(mapped, c, offset, bytes)
  if mapped == S.mapped or not draws() then return bytes end
  if S.drawn == 0 then return '' end
  return beyond(S.drawn, c, offset, bytes)
end

-- hearPiece marks numbers as heard from: bytes stand for those from
-- c*CHUNK + 8*offset on. Never those that are off, were never given, or lost
-- their place.
local function hearPiece(c, offset, bytes, mapped)
  if c < S.first or c > lastChunk() then return end
  bytes = meant(mapped, c, offset, bytes)
  if bytes == '' then return end
  local base = c * CHUNK
  if c == 0 and offset == 0 then -- there is no number 0
    local b = string.byte(bytes)
    if b >= 128 then bytes = string.char(b - 128) .. string.sub(bytes, 2) end
  end
  bytes = upTo(S.issued, c, offset, bytes)
  if bytes == '' then return end
  local heard, waiting = mapKey(NOW, c), mapKey(WAITING, c)
  call('SET', SCRATCH, string.rep('\0', offset) .. bytes)
  call('BITOP', 'AND', SCRATCH2, SCRATCH, mapKey(OFF, c))
  call('BITOP', 'XOR', SCRATCH, SCRATCH, SCRATCH2)
  if base <= S.lost then
    local under = min(S.lost - base + 1, CHUNK)
    local whole, part = floor(under / 8), under % 8
    local kept = string.rep('\0', whole)
    if part > 0 then kept = kept .. string.char(2 ^ (8 - part) - 1) end
    call('SET', SCRATCH2, kept .. string.rep('\255', BYTES - #kept))
    call('BITOP', 'OR', SCRATCH2, SCRATCH2, waiting)
    call('BITOP', 'AND', SCRATCH, SCRATCH, SCRATCH2)
  end
  if call('BITPOS', SCRATCH, 1) >= 0 then
    call('BITOP', 'OR', heard, heard, SCRATCH)
    changed(NOW, c)
    local before = call('BITCOUNT', waiting)
    call('BITOP', 'OR', waiting, waiting, SCRATCH)
    touch(waiting) -- BITOP takes a key's expiry away
    local after = S.waiting
    countAnew(c, before)
    if S.waiting ~= after then
      S.stirred = S.version
      changed(WAITING, c)
    end
  end
  call('DEL', SCRATCH, SCRATCH2)
end

-- hearOne marks one number, by the same rules.
local function hearOne(n)
  if n < 1 or n > S.issued or has(OFF, n) or n <= S.lost and not has(WAITING, n) then return end
  put(NOW, n, 1)
  if put(WAITING, n, 1) then S.stirred = S.version end
end

-- lay merges bytes into a map. What it merged stays in SCRATCH.
local function lay(map, c, offset, bytes)
  if c < S.first then return end
  local k = mapKey(map, c)
  call('SET', SCRATCH, string.rep('\0', offset) .. bytes)
  call('BITOP', 'OR', k, k, SCRATCH)
  changed(map, c)
end

-- renumber forgets what is known of places up to N, which are numbers from now
-- on.
local function renumber()
  for c = S.first, chunkOf(S.drawn) do
    call('SET', SCRATCH, beyond(S.drawn, c, 0, string.rep('\255', BYTES)))
    for _, map in ipairs(MAPS) do
      local k = mapKey(map, c)
      if call('EXISTS', k) == 1 then
        local before = map == WAITING and call('BITCOUNT', k)
        call('BITOP', 'AND', k, k, SCRATCH)
        changed(map, c)
        if before then countAnew(c, before) end
      end
    end
  end
  call('DEL', SCRATCH)
  S.mapped = 1
end

-- time ----------------------------------------------------------------------

local function inside() return call('ZCARD', ACTIVE) + S.nameless end
local function turned() return call('ZCARD', TURNS) end

local function halted() return S.mode == HOLD or S.shut == 1 end

local function claimable()
  return S.limited == 1 and S.s_until == 0 and not halted() and (S.capacity == 0 or inside() < S.capacity)
end

local function ended() return S.end_at ~= 0 and S.at >= S.end_at end
local function over() return ended() or S.left == 1 end
local function full()
  return S.max_queue > 0 and S.waiting >= S.max_queue or S.stop_at > 0 and S.left > 0 and S.waiting >= S.stop_at * (S.left - 1)
end

local function room()
  if S.limited == 0 or S.s_until ~= 0 or halted() then return 0 end
  local n = MOST_RELEASES
  if S.capacity > 0 then n = min(n, S.capacity - inside() - turned()) end
  if S.rate > 0 then n = min(n, floor(S.credit / UNIT)) end
  return max(n, 0)
end

local function free()
  if S.at < S.blind_until or not begun() or over() or drawing() then return 0 end
  return max(0, room() - S.awaited)
end

local function keepSteps(now)
  if S.limited == 0 then return end
  if now >= S.listening then
    local oldest = call('LINDEX', STEPS, 0)
    while oldest do
      local at, released = string.match(oldest, '(%d+):(%d+)')
      if now - tonumber(at) < S.hold_place then break end
      S.lost = max(S.lost, tonumber(released))
      call('LPOP', STEPS)
      oldest = call('LINDEX', STEPS, 0)
    end
    if not oldest then S.step_at, S.step_released = 0, S.lost end
  end
  if S.released > S.step_released and now - S.step_at >= S.hold_place / 60 and call('LLEN', STEPS) < MOST_STEPS then
    call('RPUSH', STEPS, text(now) .. ':' .. text(S.released))
    S.step_at, S.step_released = now, S.released
    touch(STEPS)
  end
end

local function dropChunk(c)
  for _, map in ipairs(MAPS) do
    drop(mapKey(map, c))
    if READ[map] then call('ZREM', CHANGED, READ[map] .. text(c)) end
  end
end

local function dropPassed()
  while (S.first + 1) * CHUNK <= S.lost + 1 do
    local c = S.first
    if call('BITPOS', mapKey(WAITING, c), 1) >= 0 then return end
    for _, n in ipairs(call('ZRANGE', TURNS, 0, -1)) do
      if chunkOf(tonumber(n)) == c then return end
    end
    dropChunk(c)
    S.first = c + 1
  end
end

-- dropBelow forgets the chunks below that of a number, and the turns in them.
local function dropBelow(first)
  local to = chunkOf(first)
  if to <= S.first then return end
  for _, n in ipairs(call('ZRANGE', TURNS, 0, -1)) do
    if chunkOf(tonumber(n)) < to then call('ZREM', TURNS, n) end
  end
  for c = S.first, min(to - 1, lastChunk()) do
    S.waiting = S.waiting - call('BITCOUNT', mapKey(WAITING, c))
    dropChunk(c)
  end
  S.first = to
end

local function turnWindow(now)
  local waited = S.waiting
  for c = S.first, lastChunk() do
    local heard, before, waiting = mapKey(NOW, c), mapKey(LAST, c), mapKey(WAITING, c)
    if call('EXISTS', heard) == 1 then call('RENAME', heard, before) else call('DEL', before) end
    touched[heard] = nil
    touch(before)
    local count = call('BITCOUNT', waiting)
    if count > 0 then
      call('BITOP', 'AND', waiting, waiting, before)
      touch(waiting)
      countAnew(c, count)
      if call('BITCOUNT', waiting) ~= count then changed(WAITING, c) end
    end
  end
  S.window = now
  if S.waiting ~= waited then S.stirred = S.version end
  dropPassed()
end

local function listenAnew(now)
  for c = S.first, lastChunk() do
    local heard, before = mapKey(NOW, c), mapKey(LAST, c)
    if call('EXISTS', heard) == 1 then
      call('BITOP', 'OR', before, before, heard)
      drop(heard)
      touch(before)
    end
  end
  S.window = now
  S.listening = now + S.absence
end

-- turns and sessions ----------------------------------------------------------

local function charge()
  S.turned = S.turned + 1
  if S.rate > 0 then S.credit = S.credit - UNIT end
end

local function turn(n)
  put(WAITING, n, 0)
  put(OFF, n, 1)
  S.released = max(S.released, n)
  charge()
end

local function setSession(visitor, n, untilAt, maxAt)
  call('HSET', VISIT, visitor, text(n) .. ':' .. text(untilAt) .. ':' .. text(maxAt))
  call('ZADD', ACTIVE, text(untilAt + GRACE), visitor)
  touch(VISIT)
  touch(ACTIVE)
  return { visitor, n, untilAt, maxAt }
end

local function session(visitor)
  local kept = call('HGET', VISIT, visitor)
  if not kept then return nil end
  local n, untilAt, maxAt = string.match(kept, '(%d+):(%d+):(%d+)')
  return { visitor, tonumber(n), tonumber(untilAt), tonumber(maxAt) }
end

local function enter(visitor, n, idle)
  put(OFF, n, 1)
  put(DONE, n, 1)
  S.admitted = S.admitted + 1
  local maxAt = S.at + S.max
  return setSession(visitor, n, min(S.at + idle, maxAt), maxAt)
end

local function quiet(visitor, n, idle)
  if free() < 1 or following() ~= n then return nil end
  turn(n)
  return enter(visitor, n, idle)
end

local function dropTurn(n) return call('ZREM', TURNS, text(n)) == 1 end

local function hasEnded(visitor) return call('ZSCORE', ENDED, visitor) and true or false end

local function finish(visitor, untilAt)
  if hasEnded(visitor) then return end
  local ends = call('ZSCORE', ACTIVE, visitor)
  if ends then call('ZADD', ACTIVE, text(min(tonumber(ends), S.at + 2 * TICK)), visitor) end
  call('ZADD', ENDED, text(untilAt), visitor)
  call('ZADD', TOLD, text(S.version), visitor)
  touch(ENDED)
  touch(TOLD)
end

-- passes: see pass.go ---------------------------------------------------------

-- spentOf returns what is used of a pass, and when that may be forgotten.
local function spentOf(pass)
  local uses, ends = string.match(call('HGET', PASS, pass) or '', '(%d+):(%d+)')
  return tonumber(uses or '0'), tonumber(ends or '0')
end

local function spend(pass, uses, ends)
  if ends <= S.at then return end
  local known, last = spentOf(pass)
  if uses <= known and ends <= last then return end
  ends = max(ends, last)
  call('HSET', PASS, pass, text(max(uses, known)) .. ':' .. text(ends))
  call('ZADD', PASSES, text(ends), pass)
  call('ZADD', SPENT, text(S.version), pass)
  for k in pairs(USED) do touch(k) end
end

local function forgetSpent()
  for _, pass in ipairs(call('ZRANGEBYSCORE', PASSES, '-inf', text(S.at))) do
    call('ZREM', PASSES, pass)
    call('ZREM', SPENT, pass)
    call('HDEL', PASS, pass)
  end
end

local function awaits(visitor, pass) return call('HGET', HOLDER, visitor) == pass end

local function unawait(visitor)
  if S.awaited == 0 then return end
  local pass = call('HGET', HOLDER, visitor)
  if not pass then return end
  call('HDEL', HOLDER, visitor)
  call('ZREM', HOLDERS, visitor)
  call('ZREM', HELD, visitor)
  if call('HINCRBY', HOLDS, pass, -1) == 0 then call('HDEL', HOLDS, pass) end
  S.awaited = S.awaited - 1
end

local function await(visitor, pass, untilAt)
  if not awaits(visitor, pass) then
    unawait(visitor)
    S.came = S.came + 1
    S.awaited = S.awaited + 1
    call('HSET', HOLDER, visitor, pass)
    call('ZADD', HOLDERS, text(S.came), visitor)
    call('HINCRBY', HOLDS, pass, 1)
  end
  call('ZADD', HELD, text(untilAt), visitor)
  for _, k in ipairs({ HOLDER, HOLDERS, HELD, HOLDS }) do touch(k) end
end

local function mayReenter() return S.s_until ~= 0 or S.at < S.reentry end

-- limits ----------------------------------------------------------------------

-- enforce puts in force what gateways told and the operator decided.
local function enforce()
  local held = halted()
  for _, name in ipairs(NAMES) do S[name] = S['t_' .. name] end
  for _, name in ipairs({ 'mode', 'capacity', 'rate', 'start_at', 'end_at', 'left' }) do
    if S['o_' .. name] > 0 then S[name] = S['o_' .. name] - 1 end
  end
  if S.o_rate > 0 then -- else the rate could not be reached
    S.burst = max(S.burst, 2, math.ceil(2 * S.rate * TICK / UNIT))
  end
  if S.limited == 0 then
    S.limited = 1
    S.credit = S.burst * UNIT -- a healed line loses it when it is whole
    return
  end
  if held and not halted() then S.credit = 0 end
  S.credit = min(S.credit, S.burst * UNIT)
end

-- decide takes an operator's decisions from the arguments from i on: version,
-- mode, capacity, rate, start_at, end_at, left, whether there is a message,
-- message.
local function decide(i, version)
  S.o_version = version
  for j, name in ipairs({ 'o_mode', 'o_capacity', 'o_rate', 'o_start_at', 'o_end_at', 'o_left', 'o_message' }) do
    S[name] = tonumber(ARGV[i + j])
  end
  words.message = ARGV[i + 8]
  if S.limited == 1 then enforce() end
end

-- settling --------------------------------------------------------------------

local function newEpoch(epoch)
  for c = S.first, lastChunk() do
    for _, map in ipairs(MAPS) do drop(mapKey(map, c)) end
  end
  call('DEL', CHANGED, TURNS, STEPS, BATCH, BATCHES)
  S.epoch, S.issued = epoch, 0
  S.s_released, S.s_maps = 0, 0
  S.released, S.lost, S.step_at, S.step_released = 0, 0, 0, 0
  S.waiting, S.lowest, S.first = 0, 0, 0
  S.drawn, S.later, S.mapped = 0, 0, 0
  words.draw_key, words.draw_source, words.draw_beacon = '', '', ''
end

-- raise lifts the line to a floor of its epoch. N is written once.
local function raise(issued, drawn)
  S.issued = max(S.issued, issued)
  if S.drawn == 0 then S.drawn = drawn end
end

-- settle opens a settling where a floor, or another server process, shows that
-- the line may have lost data, where there was no line, which may have been
-- lost, and where the start closes the indexes of a draw; and closes it in time.
local function settle(now, moved)
  local lost = moved or above(F_EPOCH, F_ISSUED, S.epoch, S.issued) or
    F_EPOCH == S.epoch and (F_DRAWN > 0 and S.drawn == 0 or F_MAPPED > S.mapped)
  if S.s_until == 0 then
    if not lost and not fresh and not closes() then return end
    S.s_until, S.s_lost, S.s_closing = now + SETTLE, 0, closes() and 1 or 0
    S.s_epoch, S.s_issued, S.s_drawn, S.s_released, S.s_seats, S.s_maps = S.epoch, S.issued, S.drawn, S.released, 0, 0
    S.s_told, S.s_blank = 0, fresh and 1 or 0
    if not moved then S.s_behind = S.behind end
  elseif moved then
    S.s_until, S.s_told = now + SETTLE, 0
  end
  if lost then S.s_lost = 1 end
  if F_EPOCH > S.s_epoch then
    S.s_epoch, S.s_issued, S.s_drawn = F_EPOCH, F_ISSUED, F_DRAWN
  elseif F_EPOCH == S.s_epoch then
    S.s_issued, S.s_drawn = max(S.s_issued, F_ISSUED), max(S.s_drawn, F_DRAWN)
  end
  if now < S.s_until or S.limited == 0 then return end
  if S.s_told == 0 and S.s_behind > S.behind then -- nobody knows better than the clock
    now = now + S.s_behind - S.behind
    S.at, S.behind = now, S.s_behind
  end
  if S.s_lost == 0 and S.s_closing == 0 then -- nobody remembers this line: it is a new one
    S.s_until = 0
    S.credit = S.burst * UNIT
    return
  end
  if S.s_epoch > S.epoch then newEpoch(S.s_epoch) end
  if S.s_epoch == S.epoch then raise(S.s_issued, S.s_drawn) end
  local closing = closes()
  if closing then closeIndexes() end
  if S.s_lost == 0 then
    S.s_until = 0
    return
  end
  S.released = min(max(S.released, S.s_released), S.issued)
  S.issued = S.issued + LEAP
  if closing then S.later = S.issued end -- who comes with an index that nobody told of has a number below the leap
  S.stirred = S.version
  S.born, S.reentry = now, now + S.max
  S.credit = 0
  local missing = S.s_seats - inside() - turned()
  if missing > 0 then
    S.nameless = S.nameless + missing
    S.nameless_until = now + S.idle + GRACE
  end
  if S.s_maps == 0 then S.blind_until = now + S.absence end
  S.s_until = 0
  listenAnew(now)
end

-- advance brings the line to now. It begins every step.
local function advance()
  local t = call('TIME')
  local clock = tonumber(t[1]) * SECOND + tonumber(t[2])
  local process = string.match(call('INFO', 'server'), 'run_id:(%w+)')
  if fresh then
    call('DEL', TURNS, STEPS, HOLDER, HOLDERS, HELD, HOLDS)
    S.epoch, S.version = 1, 1
    S.born, S.at, S.window = clock, clock, clock
    -- A server that evicts keys may have taken the numbers and left the maps.
    for _, member in ipairs(call('ZRANGE', CHANGED, 0, -1)) do
      call('ZADD', CHANGED, text(S.version), member)
      if string.sub(member, 1, 1) == READ[WAITING] then
        S.waiting = S.waiting + call('BITCOUNT', mapKey(WAITING, tonumber(string.sub(member, 2))))
      end
    end
  end
  local moved = words.run and words.run ~= process
  words.run = process
  S.version = S.version + 1
  S.clock = clock
  if moved then -- by another clock, and nobody has said yet how much time has passed
    if S.s_until == 0 or S.s_told == 1 then S.s_behind = S.behind end
    S.behind = S.at - clock
  end
  local now = max(clock + S.behind, S.at)
  local elapsed = now - S.at
  local worked = min(elapsed, CATCH_UP)
  if claimable() then S.claim_clock = S.claim_clock + worked end
  if S.rate > 0 and not halted() and S.s_until == 0 then
    S.credit = min(S.credit + worked * S.rate, S.burst * UNIT)
  end
  if elapsed > worked then listenAnew(now) end
  S.at = now
  for _, visitor in ipairs(call('ZRANGEBYSCORE', ACTIVE, '-inf', text(now))) do
    call('ZREM', ACTIVE, visitor)
    call('HDEL', VISIT, visitor)
  end
  call('ZREMRANGEBYSCORE', TURNS, '-inf', text(S.claim_clock))
  for _, batch in ipairs(call('ZRANGEBYSCORE', BATCHES, '-inf', text(now))) do
    call('ZREM', BATCHES, batch)
    call('HDEL', BATCH, batch)
  end
  for _, visitor in ipairs(call('ZRANGEBYSCORE', ENDED, '-inf', text(now))) do
    call('ZREM', ENDED, visitor)
    call('ZREM', TOLD, visitor)
  end
  if S.awaited > 0 then
    for _, visitor in ipairs(call('ZRANGEBYSCORE', HELD, '-inf', text(now))) do unawait(visitor) end
  end
  if now >= S.nameless_until then S.nameless = 0 end
  keepSteps(now)
  if S.limited == 1 and now - S.window >= S.absence then turnWindow(now) end
  settle(now, moved)
end

-- reply -----------------------------------------------------------------------

-- save writes what changed of the state, and renews the expiry of what was
-- written: never sooner than the longest session plus seven days. All else is
-- renewed by a tick once a minute, which is why they have a minute more.
local function save()
  local lifetime = 7 * 24 * 3600 + 60 + max(floor(S.max / SECOND), S.limited == 0 and 7 * 24 * 3600 or 0)
  if S.at - S.kept >= 60 * SECOND then
    S.kept = S.at
    forgetSpent()
    for _, k in ipairs(FIXED) do touch(k) end
    for c = S.first, lastChunk() do
      for _, map in ipairs(MAPS) do touch(mapKey(map, c)) end
    end
  end
  local changes = {}
  for f, n in pairs(S) do
    if n ~= was[f] then
      changes[#changes + 1] = f
      changes[#changes + 1] = text(n)
    end
  end
  for f, word in pairs(words) do
    if word ~= was[f] then
      changes[#changes + 1] = f
      changes[#changes + 1] = word
    end
  end
  call('HSET', SEQ, unpack(changes)) -- at least the version and the time
  touch(SEQ)
  local longest = lifetime -- of what is used of passes
  if touched[PASSES] then
    local last = call('ZREVRANGE', PASSES, 0, 0, 'WITHSCORES')
    if last[2] then longest = max(lifetime, floor((tonumber(last[2]) - S.at) / SECOND) + 60) end
  end
  for k in pairs(touched) do call('EXPIRE', k, USED[k] and longest or lifetime) end
end

-- reply saves the step and returns the head of the line, then the verb's rest.
local function reply(rest)
  save()
  return {
    {
      S.at, S.epoch, S.issued, S.released, S.lost, S.born, S.s_until == 0 and 0 or 1,
      S.waiting, turned(), inside(), S.turned, S.admitted,
      S.mode, S.capacity, S.rate, S.burst, S.claim, S.absence, S.hold_place, S.idle, S.max, S.joins, S.join_burst, S.start_at, S.end_at,
      S.max_queue, S.stop_at, S.left,
      S.o_version, S.o_mode, S.o_capacity, S.o_rate, S.o_start_at, S.o_end_at, S.o_left, S.o_message,
      S.draw, S.prequeue, S.drawn, S.later, S.mapped, S.s_until ~= 0 and S.s_closing == 1 and S.s_lost == 0 and 1 or 0,
      S.shut, S.passed, S.awaited,
    },
    { words.message, words.draw_key, words.draw_source, words.draw_beacon },
    rest,
  }
end

advance()
