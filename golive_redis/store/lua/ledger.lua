-- The ledger's own steps, for the scripts that name this file: the effect and its entry are one step.
-- Redis has no SHA-256, and a head that a client computed is an old one as soon as another client writes.

-- SHA-256 of a text, as hex (FIPS 180-4).
local ROUNDS = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
local function sha256(text)
  local band, bxor, bnot, ror, rshift, tobit = bit.band, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit
  local bits = #text * 8
  text = text .. '\128' .. string.rep('\0', (55 - #text) % 64 + 4)
    .. string.char(rshift(bits, 24), band(rshift(bits, 16), 255), band(rshift(bits, 8), 255), band(bits, 255))
  local state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
  local words = {}
  for at = 0, #text - 1, 64 do
    for i = 1, 16 do
      local p, q, r, s = string.byte(text, at + i * 4 - 3, at + i * 4)
      words[i] = tobit(((p * 256 + q) * 256 + r) * 256 + s)
    end
    for i = 17, 64 do
      local x, y = words[i - 15], words[i - 2]
      words[i] = tobit(words[i - 16] + bxor(bxor(ror(x, 7), ror(x, 18)), rshift(x, 3))
        + words[i - 7] + bxor(bxor(ror(y, 17), ror(y, 19)), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, h = unpack(state)
    for i = 1, 64 do
      local one = h + bxor(bxor(ror(e, 6), ror(e, 11)), ror(e, 25))
        + bxor(band(e, f), band(bnot(e), g)) + ROUNDS[i] + words[i]
      local two = bxor(bxor(ror(a, 2), ror(a, 13)), ror(a, 22))
        + bxor(bxor(band(a, b), band(a, c)), band(b, c))
      a, b, c, d, e, f, g, h = tobit(one + two), a, b, c, tobit(d + one), e, f, g
    end
    for i, word in ipairs({a, b, c, d, e, f, g, h}) do state[i] = tobit(state[i] + word) end
  end
  for i = 1, 8 do state[i] = bit.tohex(state[i]) end
  return table.concat(state)
end

-- Append a record to the ledger, with its digest from the caller: AUDITED, or FAILED and why. Nothing
-- in here ends the script, for its effect is done.
local function enter(head_key, audit_key, record, digest)
  local function failed(reply) return type(reply) == 'table' and reply.err end
  local head = redis.pcall('GET', head_key)
  if failed(head) then return 'FAILED', head.err end
  head = head or string.rep('0', 64)
  local after = sha256('golive-ledger-v1\n' .. head .. '\n' .. digest)
  local set = redis.pcall('SET', head_key, after)
  if failed(set) then return 'FAILED', set.err end
  local entry = redis.pcall('XADD', audit_key, '*', 'r', record, 'h', after)
  if failed(entry) then
    redis.pcall('SET', head_key, head) -- the head of what is there
    return 'FAILED', entry.err
  end
  return 'AUDITED', ''
end
