-- Limits of many calls at once: each call is admitted by all of its counters or by none.
--
-- ARGV[1]: the time in microseconds, or 0 for the server's own.
-- ARGV[2]: JSON, a list of operations { verb, slot, second, counters }; KEYS are their counters' names, one after another.
-- A counter is { kind, requests, tokens, burst of requests, burst of tokens, amount } (-1: no limit), by kind:
--   0  sliding window: at most so many requests and tokens a minute;
--   1  token bucket: as many a minute, and the bursts at once;
--   2  slots: at most `requests` calls at a time, each holding its slot until it is freed or its lease ends.
-- Verbs: 0 asks and takes nothing; 1 admits; 2 settles: adds `amount` (it may be negative) to the tokens taken in
-- `second`, and frees the slots; 3 renews the slots.
-- Answers, as JSON, for each asked or admitted: number of the counter that refused or 0, what was short (1 requests,
-- 2 tokens, 3 slots), milliseconds until there is room, second of admission, then of each counter requests (or slots) and
-- tokens in use.
--
-- A window is kept in buckets of a second. A bucket stays for 61 s, so that no 60 s ever see more than the limit.

local WINDOW, LEASE = 61, 45
local micros = tonumber(ARGV[1])
if micros == 0 then
  local time = redis.call('TIME')
  micros = time[1] * 1000000 + time[2]
end
local now = math.floor(micros / 1000000)
local edge = now - WINDOW

local function number(text) return tonumber(text) or 0 end

-- Drops what has left the window; returns oldest second, requests, tokens, and those of the present second.
local function roll(key)
  local held = redis.call('HMGET', key, 'oldest', 'requests', 'tokens', 'r' .. now, 't' .. now)
  local oldest = tonumber(held[1])
  if not oldest then return now, 0, 0, 0, 0 end
  local requests, tokens = tonumber(held[2]), tonumber(held[3])
  if oldest > edge then return oldest, requests, tokens, number(held[4]), number(held[5]) end
  if edge - oldest >= WINDOW then
    redis.call('DEL', key)
    return now, 0, 0, 0, 0
  end
  local names = {}
  for second = oldest, edge do
    names[#names + 1] = 'r' .. second
    names[#names + 1] = 't' .. second
  end
  local counts = redis.call('HMGET', key, unpack(names))
  for index = 1, #counts, 2 do
    requests = requests - number(counts[index])
    tokens = tokens - number(counts[index + 1])
  end
  redis.call('HDEL', key, unpack(names))
  redis.call('HSET', key, 'oldest', edge + 1, 'requests', requests, 'tokens', tokens)
  return edge + 1, requests, tokens, number(held[4]), number(held[5])
end

-- Milliseconds until `needed` of a kind of count ('r' or 't') have left the window.
local function wait_for(key, kind, oldest, needed)
  local names = {}
  for second = oldest, now do names[#names + 1] = kind .. second end
  local counts = redis.call('HMGET', key, unpack(names))
  local freed = 0
  for index = 1, #counts do
    freed = freed + number(counts[index])
    if freed >= needed then return (oldest + index - 1 + WINDOW) * 1000 - math.floor(micros / 1000) end
  end
  return WINDOW * 1000
end

-- What is still in a bucket of requests and of tokens after it leaked since it was last touched.
local function leak(key, counter)
  local held = redis.call('HMGET', key, 'requests', 'tokens', 'at')
  local minutes = math.max(micros - (tonumber(held[3]) or micros), 0) / 60000000
  return math.max(number(held[1]) - minutes * math.max(counter[2], 0), 0),
    math.max(number(held[2]) - minutes * math.max(counter[3], 0), 0)
end

local function minutes_until(excess, limit) return math.ceil(excess / limit * 60000) end

-- Each kind looks (short of what, milliseconds to wait, requests, tokens, and what taking needs), then takes.
local look, take, settle = {}, {}, {}

look[0] = function(key, counter)
  local oldest, requests, tokens, here_requests, here_tokens = roll(key)
  local request_limit, token_limit, amount = counter[2], counter[3], counter[6]
  if request_limit >= 0 and requests + 1 > request_limit then
    return 1, wait_for(key, 'r', oldest, requests + 1 - request_limit), requests, tokens
  end
  if token_limit >= 0 and tokens + amount > token_limit then
    return 2, wait_for(key, 't', oldest, tokens + amount - token_limit), requests, tokens
  end
  return 0, 0, requests, tokens, { oldest, here_requests, here_tokens }
end

take[0] = function(key, counter, requests, tokens, seen)
  local amount = counter[6]
  redis.call('HSET', key, 'oldest', seen[1], 'requests', requests + 1, 'tokens', tokens + amount,
    'r' .. now, seen[2] + 1, 't' .. now, seen[3] + amount)
  redis.call('EXPIRE', key, 2 * WINDOW)
  return requests + 1, tokens + amount
end

settle[0] = function(key, counter, slot, second)
  local oldest = roll(key)
  -- What has left the window, or was lost with the rest of Redis, needs no correction.
  if second >= oldest and redis.call('HEXISTS', key, 't' .. second) == 1 then
    redis.call('HINCRBY', key, 't' .. second, counter[6])
    redis.call('HINCRBY', key, 'tokens', counter[6])
  end
end

look[1] = function(key, counter)
  local requests, tokens = leak(key, counter)
  if counter[2] >= 0 and requests + 1 > counter[4] then
    return 1, minutes_until(requests + 1 - counter[4], counter[2]), requests, tokens
  end
  if counter[3] >= 0 and tokens + counter[6] > counter[5] then
    return 2, minutes_until(tokens + counter[6] - counter[5], counter[3]), requests, tokens
  end
  return 0, 0, requests, tokens
end

local function fill(key, counter, requests, tokens)
  redis.call('HSET', key, 'requests', requests, 'tokens', tokens, 'at', micros)
  local minutes = math.max(counter[2] > 0 and requests / counter[2] or 0, counter[3] > 0 and tokens / counter[3] or 0)
  redis.call('EXPIRE', key, math.ceil(minutes * 60) + WINDOW)
end

take[1] = function(key, counter, requests, tokens)
  fill(key, counter, requests + 1, tokens + counter[6])
  return requests + 1, tokens + counter[6]
end

settle[1] = function(key, counter)
  if redis.call('EXISTS', key) == 1 then
    local requests, tokens = leak(key, counter)
    fill(key, counter, requests, math.max(tokens + counter[6], 0))
  end
end

look[2] = function(key, counter)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', micros)
  local calls = redis.call('ZCARD', key)
  if calls < counter[2] then return 0, 0, calls, 0 end
  return 3, 0, calls, 0
end

local function hold(key, slot)
  redis.call('ZADD', key, micros + LEASE * 1000000, slot)
  redis.call('EXPIRE', key, LEASE)
end

take[2] = function(key, counter, calls, tokens, seen, slot)
  hold(key, slot)
  return calls + 1, 0
end

settle[2] = function(key, counter, slot) redis.call('ZREM', key, slot) end

local function ask(first, slot, counters, takes)
  local answer, seen = { 0, 0, 0, now }, {}
  for index, counter in ipairs(counters) do
    local short, wait, requests, tokens, more = look[counter[1]](KEYS[first + index], counter)
    -- Of several that refuse, the one that does so for longest is told: sooner there is no use in trying.
    if short ~= 0 and (answer[1] == 0 or wait > answer[3]) then
      answer[1], answer[2], answer[3] = index, short, wait
    end
    seen[index] = { requests, tokens, more }
  end
  for index, counter in ipairs(counters) do
    local requests, tokens = seen[index][1], seen[index][2]
    if takes and answer[1] == 0 then
      requests, tokens = take[counter[1]](KEYS[first + index], counter, requests, tokens, seen[index][3], slot)
    end
    answer[#answer + 1] = math.ceil(requests)
    answer[#answer + 1] = math.ceil(tokens)
  end
  return answer
end

local answers, first = {}, 0
for index, operation in ipairs(cjson.decode(ARGV[2])) do
  local verb, slot, second, counters = operation[1], operation[2], operation[3], operation[4]
  if verb <= 1 then
    answers[index] = ask(first, slot, counters, verb == 1)
  else
    for at, counter in ipairs(counters) do
      local key = KEYS[first + at]
      if verb == 2 then settle[counter[1]](key, counter, slot, second) else hold(key, slot) end
    end
    answers[index] = { 0 }
  end
  first = first + #counters
end
return cjson.encode(answers)
