"""Every change of a session as one script: whole or not at all, and with its conditions looked at in the server.

Each takes the three keys of a session. Numbers stay below 2^53, which Lua counts exactly. The arguments of one call are
few thousand at most, since Lua cannot unpack more.
"""

_PUSH = """
local function push(key, from)
  for i = from, #ARGV, 1000 do
    redis.call('RPUSH', key, unpack(ARGV, i, math.min(i + 999, #ARGV)))
  end
end
local function slide(ttl)
  if ttl ~= '0' then
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl) end
  end
end
"""

_CHECK = (
    _PUSH
    + """
-- ARGV: ident version fence op ttl ...
local function verdict()
  local h = redis.call('HMGET', KEYS[1], 'ident', 'version', 'fence', 'ops')
  if not h[1] then return 'missing' end
  if h[4] and string.find(h[4], ARGV[4], 1, true) then return 'stored' end
  if ARGV[3] ~= '0' and h[3] ~= ARGV[3] then return 'fenced' end
  if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return 'stale' end
  redis.call('HSET', KEYS[1], 'ops', string.sub(ARGV[4] .. (h[4] or ''), 1, 32 * 24))
end
"""
)

INSERT = (
    _PUSH
    + """
-- ARGV: ident ttl fields field value ... sidecars name data ... line ...
local mine = redis.call('HGET', KEYS[1], 'ident')
if mine then return mine == ARGV[1] and 1 or 0 end
for place, kind in ipairs({'hash', 'list', 'hash'}) do
  local found = redis.call('TYPE', KEYS[place]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE ' .. KEYS[place] .. ' is of another kind')
  end
end
redis.call('DEL', unpack(KEYS))
local at = 4
for _ = 1, ARGV[3] do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, ARGV[at] do
  redis.call('HSET', KEYS[3], ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
push(KEYS[2], at + 1)
slide(ARGV[2])
return 1
"""
)

EXTEND = (
    _CHECK
    + """
-- ARGV: ... version seq updated_at totals state line ...
local why = verdict()
if why then return why end
push(KEYS[2], 11)
redis.call('HSET', KEYS[1], 'version', ARGV[6], 'seq', ARGV[7], 'updated_at', ARGV[8], 'totals', ARGV[9],
  'state', ARGV[10])
slide(ARGV[5])
return 'stored'
"""
)

SWAP = (
    _CHECK
    + """
-- ARGV: ... kept version facts seq updated_at totals state line ...
local why = verdict()
if why then return why end
if ARGV[6] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('LTRIM', KEYS[2], 0, ARGV[6] - 1)
end
push(KEYS[2], 13)
redis.call('HSET', KEYS[1], 'version', ARGV[7], 'facts', ARGV[8], 'seq', ARGV[9], 'updated_at', ARGV[10],
  'totals', ARGV[11], 'state', ARGV[12])
slide(ARGV[5])
return 'stored'
"""
)

READ = """
-- ARGV: after before limit, each a number or nothing
local h = redis.call('HMGET', KEYS[1], 'ident', 'version', 'facts', 'seq', 'updated_at', 'totals', 'state')
if not h[1] then return false end
local length = redis.call('LLEN', KEYS[2])
local function upto(number)  -- how many lines have a smaller number
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    local line = redis.call('LINDEX', KEYS[2], middle)
    if tonumber(string.match(line, '^%d+')) < number then low = middle + 1 else high = middle end
  end
  return low
end
local first, last = 0, length
if ARGV[1] ~= '' then first = upto(tonumber(ARGV[1]) + 1) end
if ARGV[2] ~= '' then last = upto(tonumber(ARGV[2])) end
if ARGV[3] ~= '' then
  local limit = tonumber(ARGV[3])
  if ARGV[1] ~= '' then last = math.min(last, first + limit) else first = math.max(first, last - limit) end
end
local lines = {}
if first < last then lines = redis.call('LRANGE', KEYS[2], first, last - 1) end
return {h, lines}
"""

REMOVE = """
return redis.call('EXISTS', KEYS[1]) == 1 and redis.call('DEL', unpack(KEYS)) > 0 and 1 or 0
"""

WRITE_SIDECAR = (
    _PUSH
    + """
-- ARGV: fence ttl name data
local h = redis.call('HMGET', KEYS[1], 'ident', 'fence')
if not h[1] then return 'missing' end
if ARGV[1] ~= '0' and h[2] ~= ARGV[1] then return 'fenced' end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
slide(ARGV[2])
return 'stored'
"""
)

DELETE_SIDECAR = """
-- ARGV: fence name
local h = redis.call('HMGET', KEYS[1], 'ident', 'fence')
if h[1] and ARGV[1] ~= '0' and h[2] ~= ARGV[1] then return 'fenced' end
return redis.call('HDEL', KEYS[3], ARGV[2])
"""

MOVE = """
-- KEYS: three from, three to.  1: moved, 0: none there, -1: the other place is taken
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
redis.call('HDEL', KEYS[1], 'holder', 'lease_until')
for place = 1, 3 do
  if redis.call('EXISTS', KEYS[place]) == 1 then
    redis.call('RENAME', KEYS[place], KEYS[place + 3])
  else
    redis.call('DEL', KEYS[place + 3])
  end
end
return 1
"""

SIZE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local size = redis.call('HSTRLEN', KEYS[1], 'facts') + redis.call('HSTRLEN', KEYS[1], 'totals')
for _, line in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do size = size + #line end
for _, data in ipairs(redis.call('HVALS', KEYS[3])) do size = size + #data end
return size
"""

_CLOCK = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

ACQUIRE = (
    _CLOCK
    + """
-- ARGV: nonce lease holder
local h = redis.call('HMGET', KEYS[1], 'ident', 'holder', 'lease_until', 'fence', 'holder_name', 'held_since')
if not h[1] then return false end
if h[2] and h[2] ~= ARGV[1] and tonumber(h[3]) >= now then
  return {'0', h[5], tostring(now - tonumber(h[6]))}
end
-- Of the clock too: where a failover has lost the newest number, the next one is larger all the same.
local fence = math.max((tonumber(h[4]) or 0) + 1, clock[1] * 1000000 + clock[2])
local text = string.format('%.0f', fence)
redis.call('HSET', KEYS[1], 'fence', text, 'holder', ARGV[1], 'lease_until', now + ARGV[2], 'holder_name', ARGV[3],
  'held_since', now)
return {text, '', '0'}
"""
)

RENEW = (
    _CLOCK
    + """
-- ARGV: nonce lease
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'lease_until', now + ARGV[2])
return 1
"""
)

RELEASE = """
-- ARGV: nonce
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'holder', 'lease_until')
  return 1
end
return 0
"""

IS_HELD = (
    _CLOCK
    + """
local h = redis.call('HMGET', KEYS[1], 'holder', 'lease_until')
return h[1] and tonumber(h[2]) >= now and 1 or 0
"""
)

RESERVE = """
-- ARGV: nonce lease
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""

UNRESERVE = """
-- ARGV: nonce
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
"""
