-- KEYS[1]: the activities made through the API, as one text with its version.
-- ARGV: seconds to keep them, a version and its text (0 and '' to read only),
-- the version that the caller has. A text is kept unless a newer one is. The
-- answer is the version that is kept, and its text if the caller's is older.
local kept = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if tonumber(ARGV[2]) > kept then
  redis.call('HSET', KEYS[1], 'version', ARGV[2], 'text', ARGV[3])
  kept = tonumber(ARGV[2])
end
if kept > 0 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return { kept, kept > tonumber(ARGV[4]) and redis.call('HGET', KEYS[1], 'text') or '' }
