-- ARGV: the visitor of each session that was used.
local entries = {} -- outcome, number, until, max of each
for i = 4, #ARGV do
  local visitor = ARGV[i]
  local s = session(visitor)
  if hasEnded(visitor) or not s and not mayReenter() then
    entries[#entries + 1] = { 2, 0, 0, 0 }
  elseif not s then -- not known any more is not ended: its token may bring it back
    entries[#entries + 1] = { 0, 0, 0, 0 }
  else
    s = setSession(visitor, s[2], max(s[3], min(S.at + S.idle, s[4])), s[4])
    entries[#entries + 1] = { 1, s[2], s[3], s[4] }
  end
end
return reply(entries)
