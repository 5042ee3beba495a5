#!lua flags=allow-oom
-- End the term for good. The key goes first: it needs no precondition and frees memory. Then the
-- tombstone, the push, and the audit last, which may fail without holding up the stop.
--
-- KEYS  1 active   2 beat   3 revoked   4 epoch   5 last   6 head   7 audit   8 fleet id, of a card
-- ARGV  1 epoch   2 record   3 identity   4 events channel   5 SHA-256 of the record, for the ledger;
--       '' when it was executed before, and its entry is the caller's   6 '1' for a repeat, which
--       deletes only a term <= epoch and writes no ledger entry; 'card' for a stop card, which may be
--       played any number of times; 'spare' where the store is another fleet's: whatever is active there
--       ends, but what it has of its own stays   7 id of the card's fleet   8 '1' for one who sees errors
--       alone, as redis-cli --pipe shows: FLEET and GONE are errors then
-- Reply {status, grant, restriction, origin, audit, detail, why the push was refused, or '', standing}
--       status: OK | SAME (the tombstone is already this or a later one) | LATER (a repeat met a later
--       term and left it alone) | GONE (the key is gone, and no tombstone could be written: detail) |
--       FLEET (a card met the store of another fleet, which is detail, and left it alone)
--       grant, restriction: newest envelopes that were active, or nil, for the caller to verify and,
--       when they are later than its epoch, to revoke again.   origin: run id of the primary that
--       took the activation, or nil.   audit: AUDITED (with the tombstone, in one step) | FAILED
--       (detail: why) | NONE (the tombstone was there: this very one may be in the ledger already)
--       standing: the tombstone, where another one than this stands: of two revocations of one epoch
--       the first stays, and whoever sent the second adopts it
-- include ledger.lua
local function bad(reply) return type(reply) == 'table' and reply.err end
-- A value that is no number must not end the script half-way: there is no rollback.
local function number(value) return tonumber(string.match(value or '', '^%d+$')) or 0 end
if KEYS[8] then
  local fleet = redis.pcall('GET', KEYS[8])
  if fleet and not bad(fleet) and fleet ~= ARGV[7] then -- S1: it could end nothing here for good
    if ARGV[8] == '1' then return redis.error_reply('FLEET nothing was stopped: another fleet') end
    return {'FLEET', false, false, false, 'NONE', fleet, '', false}
  end
end
local was = redis.pcall('HMGET', KEYS[1], 'term', 'grant', 'origin', 'epoch')
if bad(was) then was = {} end
local again = ARGV[6] == '1'
if again and was[1] and number(was[1]) > number(ARGV[1]) then
  return {'LATER', was[2], false, was[3] or false, 'NONE', '', '', false}
end
local newest = was[4] and redis.pcall('HGET', KEYS[1], 'r:' .. was[4]) or false
if bad(newest) then newest = false end
redis.call('DEL', KEYS[1], KEYS[2])

local spare = ARGV[6] == 'spare'
-- A7: the key is gone, so whatever is refused from here on is told beside that, and ends nothing.
local stone = redis.pcall('HMGET', KEYS[3], 'epoch', 'origin', 'record')
if bad(stone) and string.find(tostring(stone.err), 'WRONGTYPE', 1, true) then
  stone = redis.pcall('DEL', KEYS[3])
  if not bad(stone) then stone = {} end
end
local unrecorded = bad(stone) or '' -- one that cannot be read may be a later one, and stays
-- A12: where a stop stands and nothing came after it, one that nobody there can verify ends nothing more.
if spare and unrecorded == '' and not was[2] and stone[3] and stone[3] ~= ARGV[2] then
  unrecorded = 'another stop stands there already, and stays'
end
local origin = was[3] or stone[2]
local status, standing = 'SAME', stone[3] ~= ARGV[2] and stone[3] or false
if unrecorded == '' and (not stone[3] or number(ARGV[1]) > number(stone[1])) then
  status, standing = 'OK', false
  redis.pcall('HDEL', KEYS[3], 'confirmed') -- else it is another stop's, and names it
  local fields = {'epoch', ARGV[1], 'record', ARGV[2], 'id', ARGV[3]}
  if origin then fields[7], fields[8] = 'origin', origin end
  unrecorded = bad(redis.pcall('HSET', KEYS[3], unpack(fields))) or ''
end
if unrecorded ~= '' then status, standing = 'GONE', false end
local enters = ARGV[5] ~= '' and not again and not spare
if status == 'OK' and not spare then
  local used = redis.pcall('GET', KEYS[4])
  -- A card whose number was used was played before, and may have its entry: the heartbeats look for it.
  if ARGV[6] == 'card' and not bad(used) and number(used) >= number(ARGV[1]) then enters = false end
  if bad(used) or number(used) < number(ARGV[1]) then
    redis.pcall('SET', KEYS[4], ARGV[1])
  end
  redis.pcall('SET', KEYS[5], ARGV[3])
end
local push = redis.pcall('PUBLISH', ARGV[4], ARGV[2])
local audit, detail = 'NONE', unrecorded
if status == 'OK' and enters then
  audit, detail = enter(KEYS[6], KEYS[7], ARGV[2], ARGV[5])
end
push = bad(push) or ''
if status == 'GONE' and ARGV[8] == '1' then return redis.error_reply('GONE off, and not recorded: ' .. detail) end
return {status, was[2] or false, newest or false, origin or false, audit, detail, push, standing}
