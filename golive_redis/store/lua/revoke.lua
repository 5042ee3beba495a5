#!lua flags=allow-oom
-- End the term for good. The key goes first: it needs no precondition and frees memory. Then the
-- tombstone, the push, and the audit last, which may fail without holding up the stop.
--
-- KEYS  1 active   2 beat   3 revoked   4 epoch   5 last   6 head   7 audit
-- ARGV  1 epoch   2 record   3 identity   4 events channel   5 ledger head before   6 ledger head
--       after   7 '1' for a repeat, which deletes only a term <= epoch and writes no ledger entry
-- Reply {status, grant, restriction, origin, audit, detail}   status: OK | SAME (the tombstone is
--       already this or a later one) | LATER (a repeat met a later term and left it alone)
--       grant, restriction: newest envelopes that were active, or nil, for the caller to verify and,
--       when they are later than its epoch, to revoke again.   origin: run id of the primary that
--       took the activation, or nil.   audit: AUDITED | HEAD (detail: the head) | FAILED | NONE
local function bad(reply) return type(reply) == 'table' and reply.err end
-- A value that is no number must not end the script half-way: there is no rollback.
local function number(value) return tonumber(string.match(value or '', '^%d+$')) or 0 end
local was = redis.pcall('HMGET', KEYS[1], 'term', 'grant', 'origin', 'epoch')
if bad(was) then was = {} end
local again = ARGV[7] == '1'
if again and was[1] and number(was[1]) > number(ARGV[1]) then
  return {'LATER', was[2], false, was[3] or false, 'NONE', ''}
end
local newest = was[4] and redis.pcall('HGET', KEYS[1], 'r:' .. was[4]) or false
if bad(newest) then newest = false end
redis.call('DEL', KEYS[1], KEYS[2])

local stone = redis.pcall('HMGET', KEYS[3], 'epoch', 'origin', 'record')
if bad(stone) then
  redis.call('DEL', KEYS[3])
  stone = {}
end
local origin = was[3] or stone[2]
local status = 'SAME'
if not stone[3] or number(ARGV[1]) > number(stone[1]) then
  status = 'OK'
  redis.call('HDEL', KEYS[3], 'confirmed')
  redis.call('HSET', KEYS[3], 'epoch', ARGV[1], 'record', ARGV[2], 'id', ARGV[3])
  if origin then redis.call('HSET', KEYS[3], 'origin', origin) end
  local used = redis.pcall('GET', KEYS[4])
  if bad(used) or number(used) < number(ARGV[1]) then
    redis.pcall('SET', KEYS[4], ARGV[1])
  end
  redis.pcall('SET', KEYS[5], ARGV[3])
end
redis.pcall('PUBLISH', ARGV[4], ARGV[2])
local reply = {status, was[2] or false, newest or false, origin or false, 'NONE', ''}
if again then return reply end

local head = redis.pcall('GET', KEYS[6])
if bad(head) then
  reply[5], reply[6] = 'FAILED', head.err
  return reply
end
head = head or string.rep('0', 64)
if head == ARGV[6] then -- this entry is the newest already: the reply to the first try was lost
  reply[5] = 'AUDITED'
  return reply
end
if head ~= ARGV[5] then
  reply[5], reply[6] = 'HEAD', head
  return reply
end
local entry = redis.pcall('XADD', KEYS[7], '*', 'r', ARGV[2], 'h', ARGV[6])
if bad(entry) then
  reply[5], reply[6] = 'FAILED', entry.err
  return reply
end
redis.call('SET', KEYS[6], ARGV[6])
reply[5] = 'AUDITED'
return reply
