#!lua flags=allow-oom
-- Put a restriction in force: halt, reduce, demote. The stop comes first, the audit last: what takes
-- permission away is never refused for want of a ledger.
--
-- KEYS  1 active   2 epoch   3 last   4 head   5 audit
-- ARGV  1 term   2 epoch   3 record   4 identity   5 identity of the directive before   6 events
--       channel   7 ledger head before   8 ledger head after   9 '1' to re-assert a lost one
-- Reply {'OK', audit, detail} | {'SAME'} | {'REFUSED', why, detail} | {'CONFLICT', last, epoch}
--       why: absent | term | corrupt    audit: AUDITED | HEAD (detail: the head) | FAILED
--       | NONE (re-asserted: its ledger entry was written at the time, or is on its way)
local function bad(reply) return type(reply) == 'table' and reply.err end
-- A value that is no number must not end the script half-way: there is no rollback.
local function number(value) return tonumber(string.match(value or '', '^%d+$')) or 0 end
local active = redis.pcall('HMGET', KEYS[1], 'term', 'last', 'epoch', 'set')
if bad(active) then return {'REFUSED', 'corrupt', KEYS[1]} end
if not active[1] then return {'REFUSED', 'absent', ''} end
if active[1] ~= ARGV[1] then return {'REFUSED', 'term', active[1]} end
local field = 'r:' .. ARGV[2]
local own = field .. ':' .. ARGV[4]
for _, held in ipairs(redis.call('HMGET', KEYS[1], field, own)) do
  if held == ARGV[3] then return {'SAME'} end
end
local again = ARGV[9] == '1'
if not again and active[2] ~= ARGV[5] then return {'CONFLICT', active[2] or '', active[3] or '0'} end
-- A re-asserted one that lost its number to another gets a field of its own: none is overwritten.
if redis.call('HEXISTS', KEYS[1], field) == 1 then field = own end
-- A re-asserted one can come on top of another set than it did at first, and nobody may take the one
-- for the other: the set is named after both, digit by digit.
local set = ARGV[4]
if again then
  local digits = {}
  for i = 1, #set do
    local sum = (tonumber(string.sub(active[4] or '', i, i), 16) or 0) + (tonumber(string.sub(set, i, i), 16) or 0)
    digits[i] = string.format('%x', sum % 16)
  end
  set = table.concat(digits) -- S4
end
redis.call('HSET', KEYS[1], field, ARGV[3], 'set', set)
if number(ARGV[2]) > number(active[3]) then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'last', ARGV[4])
  redis.pcall('SET', KEYS[2], ARGV[2])
  redis.pcall('SET', KEYS[3], ARGV[4])
else
  redis.call('HSET', KEYS[1], 'last', ARGV[4])
  redis.pcall('SET', KEYS[3], ARGV[4])
end
redis.pcall('PUBLISH', ARGV[6], ARGV[3])
if again then return {'OK', 'NONE', ''} end
local head = redis.pcall('GET', KEYS[4])
if bad(head) then return {'OK', 'FAILED', head.err} end
head = head or string.rep('0', 64)
if head ~= ARGV[7] then return {'OK', 'HEAD', head} end
local entry = redis.pcall('XADD', KEYS[5], '*', 'r', ARGV[3], 'h', ARGV[8])
if bad(entry) then return {'OK', 'FAILED', entry.err} end
redis.call('SET', KEYS[4], ARGV[8])
return {'OK', 'AUDITED', ''}
