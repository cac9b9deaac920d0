-- ARGV: for each departure visitor, number, epoch.
for i = 4, #ARGV, 3 do
  local visitor, n, epoch = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local s = session(visitor)
  unawait(visitor)
  if s then
    finish(visitor, s[4] + GRACE)
  elseif mayReenter() then
    finish(visitor, S.at + (S.limited == 1 and S.max or 7 * 24 * 3600 * SECOND) + GRACE)
  end
  if n > 0 and epoch == S.epoch and n <= S.issued and means(F_MAPPED, n) then S.stirred = S.version end
  if n > 0 and epoch == S.epoch and n <= S.issued and means(F_MAPPED, n) and chunkOf(n) >= S.first then
    dropTurn(n)
    clear(WAITING, n)
    put(OFF, n, 1)
    put(DONE, n, 1)
  end
end
return reply({})
