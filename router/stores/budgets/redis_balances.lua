-- ARGV[4..]: for each claim the number of its windows, and for each of them start and account.
local found, at = {"balances"}, 4
while ARGV[at] do
  local windows = tonumber(ARGV[at])
  local account = ARGV[at + 2]
  for index = 0, windows - 1 do
    if tonumber(ARGV[at + 1 + 2 * index]) <= now_ms then account = ARGV[at + 2 + 2 * index] end
  end
  at = at + 1 + 2 * windows
  local stands = load_account(account)
  found[#found + 1] = account
  found[#found + 1] = text(stands.settled)
  found[#found + 1] = text(stands.held)
end
return found
