-- Prints the exact counts of a run as one line of JSON; durations in microseconds.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'ASTRA-WRK {"requests":%d,"duration":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d,"longest":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
