-- ARGV: the epoch whose places and turns end, if it is not over: one that a
-- settling line has only heard of included.
local epoch = tonumber(ARGV[4])
if epoch >= S.epoch and (S.s_until == 0 or epoch >= S.s_epoch) then newEpoch(epoch + 1) end
return reply({})
