-- ARGV[4..6]: id, how much more, lease in ms.
local extra, r = amount(ARGV[5]), load_reservation(ARGV[4])
if not r or r.state ~= "open" or (#r.accounts > 0 and #r.terms == 0) then
  return {"denied", "", "", "0", "0", "0", ARGV[5], ""}
end
local accounts = accounts_of(r.terms)
if less(room(r.terms, accounts), extra) then return denied(r.terms, accounts, ARGV[5]) end
for _, name in ipairs(r.accounts) do
  accounts[name].held = add(accounts[name].held, extra)
  save_account(accounts[name])
end
r.held, r.lease = add(r.held, extra), math.max(r.lease, now_ms + tonumber(ARGV[6]))
save_reservation(r)
remember()
return {"granted", granted(r, accounts)}
