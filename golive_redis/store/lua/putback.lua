#!lua flags=allow-oom
-- Append entries that the ledger had once, with the ids that they had, if its head is still the one that
-- was read.
--
-- KEYS  1 head   2 audit
-- ARGV  1 head as it was read   2.. id, record and head of each entry
-- Reply {'OK'} | {'HEAD', head}
local head = redis.call('GET', KEYS[1]) or string.rep('0', 64)
if head ~= ARGV[1] then return {'HEAD', head} end
redis.call('SET', KEYS[1], head) -- A7: refused here, it leaves no entry that the head does not name
for at = 2, #ARGV, 3 do
  redis.call('XADD', KEYS[2], ARGV[at], 'r', ARGV[at + 1], 'h', ARGV[at + 2])
  redis.call('SET', KEYS[1], ARGV[at + 2]) -- after each: an id that is refused ends it between two entries
end
return {'OK'}
