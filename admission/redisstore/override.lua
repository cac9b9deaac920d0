-- ARGV: what an operator decided, as decide takes it.
decide(3, S.o_version + 1)
return reply({})
