-- KEYS[1]: values by name, each behind the instant of its writing (µs) and a
-- space. KEYS[2]: the lease that the call is about, which holds who has it.
-- ARGV: seconds to keep the values, what to do, and its arguments:
--   put    name, value, holder: written unless the holder ('': none is needed)
--          has lost the lease. The answer is 1 if it was.
--   get    name: the value, '' for none
--   names: all of them
--   remove names …
--   hold   holder, milliseconds: takes the lease or prolongs it. The answer is 1
--          if the holder has it.
--   free   holder: gives the lease back if the holder has it
local what = ARGV[2]
local function has(holder) return redis.call('GET', KEYS[2]) == holder end
if what == 'put' then
  if ARGV[5] ~= '' and not has(ARGV[5]) then return 0 end
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], ARGV[3], string.format('%d%06d ', now[1], now[2]) .. ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  return 1
elseif what == 'get' then
  return redis.call('HGET', KEYS[1], ARGV[3]) or ''
elseif what == 'names' then
  return redis.call('HKEYS', KEYS[1])
elseif what == 'remove' then
  redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
  return 1
elseif what == 'hold' then
  if has(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
    return 1
  end
  return redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0
elseif what == 'free' then
  if has(ARGV[3]) then redis.call('DEL', KEYS[2]) end
  return 1
end
return redis.error_reply('ERR unknown verb ' .. what)
