-- ARGV[4]: how many at most. Returns each id and what was charged, in the order of their leases.
local found = {"expired"}
local due = redis.call("ZRANGEBYSCORE", LEASES, "-inf", string.format("%d", now_ms), "LIMIT", 0, tonumber(ARGV[4]))
for _, id in ipairs(due) do
  local r = load_reservation(id)
  if r and r.state == "open" and r.lease <= now_ms then
    close(r, r.held, "expired")
    found[#found + 1] = id
    found[#found + 1] = text(r.charged)
  else
    redis.call("ZREM", LEASES, id)
  end
end
remember()
return found
