-- ARGV: key and source to pin, whether an index of the epoch was seen, beacon,
-- since, then for each piece map, chunk, offset in bytes, bytes: done first, then
-- off, then waiting.
if S.s_until ~= 0 or S.limited == 0 then return reply({}) end -- what gateways remember comes first
if words.draw_key == '' and ARGV[4] ~= '' and
  (S.drawn > 0 or ARGV[6] == '1' or S.draw == 1 and not begun() and S.issued == 0) then
  words.draw_key, words.draw_source = ARGV[4], ARGV[5]
end
if S.drawn == 0 or words.draw_key == '' or S.mapped == 1 then return reply({}) end
if words.draw_source ~= '' and words.draw_beacon == '' then words.draw_beacon = ARGV[7] end

local since = tonumber(ARGV[8])
if since > 0 and since >= S.stirred and since <= S.version and (words.draw_source == '' or words.draw_beacon ~= '') then
  renumber()
  for i = 9, #ARGV, 4 do
    local map, c, offset = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local bytes = upTo(S.drawn, c, offset, ARGV[i + 3])
    if map == 'w' then
      hearPiece(c, offset, bytes, 1)
    elseif bytes ~= '' then
      if map == 'd' then lay(DONE, c, offset, bytes) end
      lay(OFF, c, offset, bytes)
      call('DEL', SCRATCH)
    end
  end
end
return reply({})
