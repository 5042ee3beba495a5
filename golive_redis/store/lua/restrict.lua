#!lua flags=allow-oom
-- Put a restriction in force: halt, reduce, demote. The stop comes first, the audit last: what takes
-- permission away is never refused for want of a ledger.
--
-- KEYS  1 active   2 epoch   3 last   4 head   5 audit
-- ARGV  1 term   2 epoch   3 record   4 identity   5 identity of the directive before   6 events
--       channel   7 SHA-256 of the record, for the ledger   8 '1' to re-assert a lost one
-- Reply {'OK', audit, detail, why the push was refused, or ''} | {'SAME'} | {'REFUSED', why, detail}
--       | {'CONFLICT', last, epoch}   why: absent | term | corrupt    audit: AUDITED | FAILED (detail: why)
--       | NONE (re-asserted: its ledger entry was written at the time, or is on its way)
-- include ledger.lua
local function bad(reply) return type(reply) == 'table' and reply.err end
-- A value that is no number must not end the script half-way: there is no rollback.
local function number(value) return tonumber(string.match(value or '', '^%d+$')) or 0 end
local active = redis.pcall('HMGET', KEYS[1], 'term', 'last', 'epoch', 'set')
if bad(active) then
  return string.find(tostring(active.err), 'WRONGTYPE', 1, true) and {'REFUSED', 'corrupt', KEYS[1]} or active
end
if not active[1] then return {'REFUSED', 'absent', ''} end
if active[1] ~= ARGV[1] then return {'REFUSED', 'term', active[1]} end
local field = 'r:' .. ARGV[2]
local own = field .. ':' .. ARGV[4]
local held = redis.call('HMGET', KEYS[1], field, own)
if held[1] == ARGV[3] or held[2] == ARGV[3] then return {'SAME'} end
local again = ARGV[8] == '1'
if not again and active[2] ~= ARGV[5] then return {'CONFLICT', active[2] or '', active[3] or '0'} end
-- A re-asserted one that lost its number to another gets a field of its own: none is overwritten.
if held[1] then field = own end
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
-- A7: from here on it is in force, and whatever is refused is told beside that.
local push = redis.pcall('PUBLISH', ARGV[6], ARGV[3])
local unpushed = bad(push) or ''
if again then return {'OK', 'NONE', '', unpushed} end
local audit, detail = enter(KEYS[4], KEYS[5], ARGV[3], ARGV[7])
return {'OK', audit, detail, unpushed}
