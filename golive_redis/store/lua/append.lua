#!lua flags=allow-oom
-- Append entries to the ledger, all of them exactly once, if its head is the one the writer extended.
--
-- KEYS  1 head   2 audit
-- ARGV  1 head before   2 head after   3 record   4, 5 and so on: head and record of each further entry
-- Reply {'OK'} | {'SAME'} (they are the newest entries already) | {'HEAD', head}
local last = ARGV[#ARGV - 1]
local head = redis.call('GET', KEYS[1]) or string.rep('0', 64)
if head == last then return {'SAME'} end
if head ~= ARGV[1] then return {'HEAD', head} end
redis.call('SET', KEYS[1], head, 'XX') -- A7: refused here, it leaves no entry that the head does not name
for at = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[2], '*', 'r', ARGV[at + 1], 'h', ARGV[at])
  redis.call('SET', KEYS[1], ARGV[at])
end
return {'OK'}
