-- ARGV: for each piece chunk, offset in bytes, bytes.
for i = 4, #ARGV, 3 do
  hearPiece(tonumber(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2], F_MAPPED)
end
return reply({})
