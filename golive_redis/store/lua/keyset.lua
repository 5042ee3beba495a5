#!lua flags=allow-oom
-- Publish a signed keyset together with its ledger entry, if none has its number and the ledger's head is
-- the one the writer extended.
--
-- KEYS  1 keyset   2 head   3 audit
-- ARGV  1 number   2 number before it   3 the step: keyset and record   4 head before   5 head after
--       6 record   7 how many steps are kept at most   8 what is kept of the keyset before the first step
-- Reply {'OK'} | {'SAME'} (this very step stands) | {'CONFLICT', the step that stands}
--       | {'REFUSED', 'gap'} (others stand, and the one before it does not) | {'REFUSED', 'full'}
--       | {'HEAD', head}
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing == ARGV[3] then return {'SAME'} end
if standing then return {'CONFLICT', standing} end
local steps = redis.call('HLEN', KEYS[1])
if steps > 0 and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return {'REFUSED', 'gap'} end
if steps >= tonumber(ARGV[7]) then return {'REFUSED', 'full'} end
local head = redis.call('GET', KEYS[2]) or string.rep('0', 64)
if head ~= ARGV[4] then return {'HEAD', head} end
redis.call('SET', KEYS[2], head, 'XX') -- A7: refused here, nothing was changed
redis.call('XADD', KEYS[3], '*', 'r', ARGV[6], 'h', ARGV[5]) -- before it can be taken: no step without its entry
redis.call('SET', KEYS[2], ARGV[5])
if steps == 0 then redis.call('HSET', KEYS[1], ARGV[2], ARGV[8]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {'OK'}
