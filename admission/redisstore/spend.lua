-- ARGV: for each pass its id, uses and end.
for i = 4, #ARGV, 3 do spend(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])) end
return reply({})
