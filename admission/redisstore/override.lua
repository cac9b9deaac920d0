-- ARGV: the latest version that the caller knew, then what an operator decided,
-- as decide takes it. A line that lost what was decided before goes on from
-- there, else the memory of a gateway would undo the newer decision.
decide(4, max(S.o_version, tonumber(ARGV[4])) + 1)
return reply({})
