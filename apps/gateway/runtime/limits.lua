-- Requests and tokens per minute, of several keys at once.
--
-- ARGV[1]: the time in microseconds, or 0 for the server's own.
-- For each of KEYS: limit of requests and of tokens (-1: none), tokens, and 0 to admit a call or, to settle one, the
-- second that admitted it; `tokens` is then what to add to that second, and may be negative.
-- Answers, for each: verdict (1 admitted, 0 too many requests, -1 too many tokens), requests and tokens now in the
-- window, milliseconds until there is room (of a refusal), second of admission.
--
-- The window is kept in buckets of a second. A bucket stays for 61 s, so that no 60 s ever see more than the limit.

local WINDOW = 61
local micros = tonumber(ARGV[1])
if micros == 0 then
  local time = redis.call('TIME')
  micros = time[1] * 1000000 + time[2]
end
local now = math.floor(micros / 1000000)
local edge = now - WINDOW

-- Drops what has left the window; returns oldest second, requests, tokens.
local function roll(key)
  local held = redis.call('HMGET', key, 'oldest', 'requests', 'tokens')
  local oldest = tonumber(held[1])
  if not oldest then return now, 0, 0 end
  local requests, tokens = tonumber(held[2]), tonumber(held[3])
  if oldest > edge then return oldest, requests, tokens end
  if edge - oldest >= WINDOW then
    redis.call('DEL', key)
    return now, 0, 0
  end
  local names = {}
  for second = oldest, edge do
    names[#names + 1] = 'r' .. second
    names[#names + 1] = 't' .. second
  end
  local counts = redis.call('HMGET', key, unpack(names))
  for index = 1, #counts, 2 do
    requests = requests - (tonumber(counts[index]) or 0)
    tokens = tokens - (tonumber(counts[index + 1]) or 0)
  end
  redis.call('HDEL', key, unpack(names))
  redis.call('HSET', key, 'oldest', edge + 1, 'requests', requests, 'tokens', tokens)
  return edge + 1, requests, tokens
end

-- Milliseconds until `needed` of a kind of count ('r' or 't') have left the window.
local function wait_for(key, kind, oldest, needed)
  local names = {}
  for second = oldest, now do names[#names + 1] = kind .. second end
  local counts = redis.call('HMGET', key, unpack(names))
  local freed = 0
  for index = 1, #counts do
    freed = freed + (tonumber(counts[index]) or 0)
    if freed >= needed then return (oldest + index - 1 + WINDOW) * 1000 - math.floor(micros / 1000) end
  end
  return WINDOW * 1000
end

local function admit(key, request_limit, token_limit, amount)
  local oldest, requests, tokens = roll(key)
  if request_limit >= 0 and requests + 1 > request_limit then
    return 0, requests, tokens, wait_for(key, 'r', oldest, requests + 1 - request_limit), now
  end
  if token_limit >= 0 and tokens + amount > token_limit then
    return -1, requests, tokens, wait_for(key, 't', oldest, tokens + amount - token_limit), now
  end
  local counts = redis.call('HMGET', key, 'r' .. now, 't' .. now)
  redis.call('HSET', key, 'oldest', oldest, 'requests', requests + 1, 'tokens', tokens + amount,
    'r' .. now, (tonumber(counts[1]) or 0) + 1, 't' .. now, (tonumber(counts[2]) or 0) + amount)
  redis.call('EXPIRE', key, 2 * WINDOW)
  return 1, requests + 1, tokens + amount, 0, now
end

local function settle(key, amount, second)
  local oldest, requests, tokens = roll(key)
  -- What has left the window, or was lost with the rest of Redis, needs no correction.
  if second >= oldest and redis.call('HEXISTS', key, 't' .. second) == 1 then
    redis.call('HINCRBY', key, 't' .. second, amount)
    tokens = redis.call('HINCRBY', key, 'tokens', amount)
  end
  return 1, requests, tokens, 0, second
end

local answers = {}
for index, key in ipairs(KEYS) do
  local at = index * 4 - 2
  local amount, second = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if second == 0 then
    answers[index] = { admit(key, tonumber(ARGV[at]), tonumber(ARGV[at + 1]), amount) }
  else
    answers[index] = { settle(key, amount, second) }
  end
end
return answers
