-- wrk script: tools/call in a closed loop. Every call carries a number of its own as JSON-RPC id and in its text; an
-- answer is good only if it carries both, is a success, and its number is still owed. Input: see bench/load.py.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  number, good, bad, first_bad, owed = 0, 0, 0, "", {}
  path, filler = os.getenv("BENCH_PATH"), os.getenv("BENCH_FILLER")
  headers = { ["Content-Type"] = "application/json", ["Accept"] = "application/json, text/event-stream",
              ["MCP-Protocol-Version"] = "2025-11-25" }
  if os.getenv("BENCH_TOKEN") ~= "" then headers["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN") end
end

function request()
  number = number + 1
  owed[tostring(number)] = true
  return wrk.format("POST", path, headers, '{"jsonrpc":"2.0","id":' .. number .. ',"method":"tools/call","params":' ..
    '{"name":"echo","arguments":{"text":"' .. filler .. 'call-' .. number .. '-end"}}}')
end

function response(status, headers, body)
  local id = string.match(body, '"id":(%d+)')
  if status == 200 and id and owed[id] and string.find(body, filler .. "call-" .. id .. "-end", 1, true)
     and string.find(body, '"result"', 1, true) and not string.find(body, '"isError":true', 1, true) then
    owed[id], good = nil, good + 1
  else
    bad = bad + 1
    if first_bad == "" then first_bad = status .. " " .. string.sub(body, 1, 200) end
  end
end

function done(summary, latency, requests)
  local good, bad, first_bad, failed = 0, 0, "", summary.errors
  for _, thread in ipairs(threads) do
    good, bad, first_bad = good + thread:get("good"), bad + thread:get("bad"), first_bad .. thread:get("first_bad")
  end
  bad = bad + failed.connect + failed.read + failed.write + failed.timeout
  io.write(string.format("\nBENCH %.4f %d %d %.4f %.4f %s\n", summary.duration / 1e6, good, bad,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, string.gsub(first_bad, "%s+", " ")))
end
