-- ARGV[4..7]: id, least, most, lease in ms; then for each claim: budget, owner, limit, "1" where hard, the number of
-- its windows, and for each of them start, end, account.
local id, least_text, most_text, lease_ms = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local known = load_reservation(id)
if known then return {"granted", known.grant} end
local terms, at = {}, 8
while ARGV[at] do
  local budget, owner, limit, hard, windows = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  at = at + 5
  local account, ends = ARGV[at + 2], ARGV[at + 1]
  for index = 0, windows - 1 do
    if tonumber(ARGV[at + 3 * index]) <= now_ms then
      account, ends = ARGV[at + 3 * index + 2], ARGV[at + 3 * index + 1]
    end
  end
  at = at + 3 * windows
  terms[#terms + 1] = {account, budget, owner, limit, hard, ends}
end
local accounts = accounts_of(terms)
local held = least(amount(most_text), room(terms, accounts))
if less(held, amount(least_text)) then return denied(terms, accounts, least_text) end
local names = {}
for _, term in ipairs(terms) do
  local account = accounts[term[1]]
  account.ends = tonumber(term[6])
  if not account.is_counted then
    account.is_counted = true
    account.held, account.open = add(account.held, held), account.open + 1
    names[#names + 1] = term[1]
  end
end
for _, name in ipairs(names) do save_account(accounts[name]) end
local r = {
  id = id, state = "open", held = held, charged = ZERO, lease = now_ms + lease_ms, terms = terms, accounts = names,
}
r.grant = granted(r, accounts)
save_reservation(r)
remember()
return {"granted", r.grant}
