-- A new visitor with each request, by the body of enter.json.
local file = assert(io.open("enter.json"))
local body = file:read("*a")
file:close()

local headers = { ["Content-Type"] = "application/json" }
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("thread", threads)
end

function init()
  run, count = os.time(), 0
end

function request()
  count = count + 1
  local user = string.format("%x-%x-%x", run, thread, count)
  return wrk.format("POST", "/api/v1/queue/enter", headers, (body:gsub("load%-test", user)))
end
