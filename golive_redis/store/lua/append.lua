#!lua flags=allow-oom
-- Append an entry to the ledger, exactly once, if its head is the one the writer extended.
--
-- KEYS  1 head   2 audit
-- ARGV  1 head before   2 head after   3 record
-- Reply {'OK'} | {'SAME'} (it is the newest entry already) | {'HEAD', head}
local head = redis.call('GET', KEYS[1]) or string.rep('0', 64)
if head == ARGV[2] then return {'SAME'} end
if head ~= ARGV[1] then return {'HEAD', head} end
redis.call('SET', KEYS[1], head, 'XX') -- A7: refused here, it leaves no entry that the head does not name
redis.call('XADD', KEYS[2], '*', 'r', ARGV[3], 'h', ARGV[2])
redis.call('SET', KEYS[1], ARGV[2])
return {'OK'}
