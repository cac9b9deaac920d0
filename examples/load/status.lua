-- Each thread takes one place, by the body of enter.json, and polls it.
local file = assert(io.open("enter.json"))
local body = file:read("*a")
file:close()

local place

function init()
  user = string.format("%x-%s", os.time(), tostring({}):match("0x(%x+)"))
end

function request()
  if place then
    return wrk.format("GET", "/api/v1/queue/status?activity_id=123&session_id=" .. place)
  end
  return wrk.format("POST", "/api/v1/queue/enter", { ["Content-Type"] = "application/json" }, (body:gsub("load%-test", user)))
end

-- Until there is a place every connection asks for it: all but one are told that
-- the visitor has it already, which is an answer with the place too.
function response(_, _, text)
  if not place then
    place = text:match('"session_id":"([^"]+)"')
  end
end
