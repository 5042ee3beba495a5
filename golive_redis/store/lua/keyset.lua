#!lua flags=allow-oom
-- Publish a signed keyset together with its ledger entry, if none has its number and the ledger's head is
-- the one the writer extended.
--
-- KEYS  1 keyset   2 head   3 audit
-- ARGV  1 number   2 number before it   3 the step: keyset and record   4 head before   5 head after
--       6 record   7 bytes of a step at most   8 what is kept of the keyset before the first step
--       9 what may stand in the place of the step, for the writer has seen that it is none; '' for nothing
--       10 likewise in the place of the keyset before it
-- Reply {'OK'} | {'SAME'} (this very step stands) | {'CONFLICT', the step that stands}
--       | {'REFUSED', 'gap'} (one before stands, and the one in between does not) | {'HEAD', head}
-- Fields that are no number before it count for nothing: whoever may write here could plant any.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing == ARGV[3] then return {'SAME'} end
local most = tonumber(ARGV[7])
if standing and standing ~= ARGV[9] and #standing <= most then return {'CONFLICT', standing} end
local before = redis.call('HGET', KEYS[1], ARGV[2])
if not before then
  local number = tonumber(ARGV[2])
  for earlier = math.max(1, number - 4096), number - 1 do
    if redis.call('HEXISTS', KEYS[1], string.format('%.0f', earlier)) == 1 then return {'REFUSED', 'gap'} end
  end
end
local first = not before or before == ARGV[10] or #before > most
local head = redis.call('GET', KEYS[2]) or string.rep('0', 64)
if head ~= ARGV[4] then return {'HEAD', head} end
redis.call('SET', KEYS[2], head, 'XX') -- A7: refused here, nothing was changed
redis.call('XADD', KEYS[3], '*', 'r', ARGV[6], 'h', ARGV[5]) -- before it can be taken: no step without its entry
redis.call('SET', KEYS[2], ARGV[5])
if first then redis.call('HSET', KEYS[1], ARGV[2], ARGV[8]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {'OK'}
