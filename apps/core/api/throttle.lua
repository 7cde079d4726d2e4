-- Requests a minute of several counters at once: all of them count a request, or none.
--
-- KEYS: the counters; ARGV[1]: the time in seconds, or 0 for the server's own; ARGV[2…]: the limit of each.
-- Answers the number of the counter that refused (0: none), seconds until there is room, then what each has left.
--
-- A sliding window of two fields: what was counted in the minute before weighs as much as of it still lies in the window.

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local minute = math.floor(now / 60)
local passed = now / 60 - minute

local answer, counts = { 0, 0 }, {}
for index, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, minute - 1, minute)
  local before, here, limit = tonumber(held[1]) or 0, tonumber(held[2]) or 0, tonumber(ARGV[index + 1])
  local used = before * (1 - passed) + here
  if used + 1 > limit and answer[1] == 0 then
    -- Room comes back as the minute before leaves the window, and after that as this one does.
    local excess, wait = used + 1 - limit, (minute + 1) * 60 - now
    if before > 0 and excess <= before * (1 - passed) then
      wait = math.min(wait, excess / before * 60)
    elseif here > 0 then
      wait = wait + math.max(here + 1 - limit, 0) / here * 60
    end
    answer[1], answer[2] = index, math.max(math.ceil(wait), 1)
  end
  counts[index] = { limit - used, here }
end
for index, key in ipairs(KEYS) do
  local left = counts[index][1]
  if answer[1] == 0 then
    left = left - 1
    if counts[index][2] == 0 then redis.call('HDEL', key, minute - 2) end
    redis.call('HINCRBY', key, minute, 1)
    redis.call('EXPIRE', key, 180)
  end
  answer[index + 2] = math.max(math.floor(left), 0)
end
return answer
