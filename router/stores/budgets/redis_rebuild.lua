-- ARGV[4..6]: how many balances, holds and closed reservations; then the ids of these, account, settled, end for each
-- balance, and id, held, lease, the number of its accounts and, for each of them, account and end for each hold. "1" last
-- sets the marker: the store grants again.
local at = 7
for _ = 1, tonumber(ARGV[6]) do
  local r = load_reservation(ARGV[at])
  if not r then
    r = {id = ARGV[at], state = "open", held = ZERO, charged = ZERO, lease = now_ms, terms = {}, accounts = {}}
    r.grant = cjson.encode({"0", "", "[]", "[]"})
  end
  close(r, ZERO, "voided")
  at = at + 1
end
for _ = 1, tonumber(ARGV[4]) do
  local account = load_account(ARGV[at])
  if less(account.settled, amount(ARGV[at + 1])) then
    account.settled = amount(ARGV[at + 1])
    if not account.exists then account.ends = tonumber(ARGV[at + 2]) end
    save_account(account)
  end
  at = at + 3
end
for _ = 1, tonumber(ARGV[5]) do
  local id, held, lease, count = ARGV[at], amount(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  local is_known, names, seen = redis.call("EXISTS", reservation_key(id)) == 1, {}, {}
  for _ = 1, count do
    local name, ends = ARGV[at], tonumber(ARGV[at + 1])
    at = at + 2
    if not is_known and not seen[name] then
      seen[name] = true
      local account = load_account(name)
      if not account.exists then account.ends = ends end
      account.held, account.open = add(account.held, held), account.open + 1
      save_account(account)
      names[#names + 1] = name
    end
  end
  if not is_known then
    local r = {id = id, state = "open", held = held, charged = ZERO, lease = lease, terms = {}, accounts = names}
    r.grant = cjson.encode({text(held), "", list_json(names), "[]"})
    save_reservation(r)
  end
end
if ARGV[at] == "1" then redis.call("SET", KEYS[1], ARGV[3]) end
remember()
return {"rebuilt"}
