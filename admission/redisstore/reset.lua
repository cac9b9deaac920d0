-- Ends every place and turn, those that a settling line has only heard of
-- included.
newEpoch(max(S.epoch, S.s_until ~= 0 and S.s_epoch or 0) + 1)
return reply({})
