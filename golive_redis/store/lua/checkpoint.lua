#!lua
-- Put a checkpoint of the ledger in the place of the one that its writer has read.
--
-- KEYS  1 checkpoint
-- ARGV  1 as it was read, or ''   2 the new one
-- Reply {'OK'} | {'SAME'} (it stands there already) | {'CONFLICT'} (another one does)
-- What has another type than a string was written by nobody of ours: it counts as nothing, and goes.
local standing = redis.pcall('GET', KEYS[1])
if type(standing) == 'table' and standing.err then
  if not string.find(tostring(standing.err), 'WRONGTYPE', 1, true) then return standing end -- e.g. NOPERM
  standing = ''
end
standing = standing or ''
if standing == ARGV[2] then return {'SAME'} end
if standing ~= ARGV[1] then return {'CONFLICT'} end
redis.call('SET', KEYS[1], ARGV[2])
return {'OK'}
