-- ARGV[4..6]: id, what it cost, "settled" or "voided".
local r = load_reservation(ARGV[4])
if r then close(r, amount(ARGV[5]), ARGV[6]) end
remember()
return {"closed"}
