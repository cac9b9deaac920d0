-- KEYS[1]: the signing keys of all gateways, as JSON. ARGV: seconds to keep
-- them, a fresh key for where there is none, then the keys that the gateway
-- has used: a store that lost them gets them back.
local kept = redis.call('GET', KEYS[1])
local keys, known = {}, {}
if kept then keys = cjson.decode(kept) end
for _, key in ipairs(keys) do known[key.ID] = true end
for i = 3, #ARGV do
  local key = cjson.decode(ARGV[i])
  if not known[key.ID] then
    keys[#keys + 1] = key
    known[key.ID] = true
  end
end
if #keys == 0 then keys[1] = cjson.decode(ARGV[2]) end
local text = cjson.encode(keys)
redis.call('SET', KEYS[1], text, 'EX', ARGV[1])
return text
