-- Every connection waits so many milliseconds (the argument) after an answer before it asks again.
local pause = 0

function init(args)
  pause = tonumber(args[1]) or 0
end

function delay()
  return pause
end

-- As done.lua.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'ASTRA-WRK {"requests":%d,"duration":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d,"longest":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
