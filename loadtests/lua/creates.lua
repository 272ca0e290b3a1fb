-- Creates one link a request, each with a URL that was never sent before; the argument names the run.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(here .. "done.lua")

local run, number = "run", 0

function init(args)
  if args[1] then run = args[1] end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  number = number + 1
  return wrk.format(nil, nil, nil, '{"url":"https://example.com/products/' .. run .. '/' .. number .. '?ref=newsletter&utm_source=load"}')
end
