-- The state machine of budgets (router/budgets/transitions.py) on Redis: what every transition's script begins with.
--
-- Amounts are decimal text, up to 2^63 - 1 nano-USD; Lua counts in doubles, which are exact to 2^53 alone. So amounts
-- are computed in two limbs, hi * 10^9 + lo, each exact.
--
-- KEYS[1] is the marker, the id of the server's run that was told what the ledger knows. Where it is missing or another
-- run's, Redis has lost memory, or may have: nothing is granted or charged then. Every other key has the same hash tag.
-- ARGV[1] is the prefix of all keys, ARGV[2] the time in milliseconds, empty for the server's own, ARGV[3] the run's id.

local BASE = 1000000000
local PREFIX = ARGV[1]
local ENDLESS_MS = 2^53
local CLOSED_KEPT_MS, EXPIRED_KEPT_MS, ACCOUNT_KEPT_MS = 900000, 86400000, 90000000
local MAX = {9223372036, 854775807}
local ZERO = {0, 0}

local now_ms = 0

local function amount(text)
  if not text then return ZERO end
  local digits = #text
  if digits <= 9 then return {0, tonumber(text)} end
  return {tonumber(string.sub(text, 1, digits - 9)), tonumber(string.sub(text, digits - 8))}
end

local function text(a)
  if a[1] == 0 then return string.format("%d", a[2]) end
  return string.format("%d%09d", a[1], a[2])
end

local function add(a, b)
  local hi, lo = a[1] + b[1], a[2] + b[2]
  if lo >= BASE then hi, lo = hi + 1, lo - BASE end
  return {hi, lo}
end

-- May be below zero: then hi is, and lo is still 0 .. BASE - 1.
local function sub(a, b)
  local hi, lo = a[1] - b[1], a[2] - b[2]
  if lo < 0 then hi, lo = hi - 1, lo + BASE end
  return {hi, lo}
end

local function less(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end

local function least(a, b) if less(b, a) then return b end return a end

local function never_below_zero(a) if a[1] < 0 then return ZERO end return a end

local function now()
  if ARGV[2] ~= "" then return tonumber(ARGV[2]) end
  local time = redis.call("TIME")
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A clock that steps back stands still until it has caught up.
local function moment()
  local found = now()
  local seen = redis.call("GET", PREFIX .. "now")
  if seen and tonumber(seen) > found then return tonumber(seen) end
  return found
end

local function remember() redis.call("SET", PREFIX .. "now", string.format("%d", now_ms)) end

local function account_key(name) return PREFIX .. "a:" .. name end
local function reservation_key(id) return PREFIX .. "r:" .. id end
local LEASES = PREFIX .. "leases"

-- Redis forgets keys by its own clock; what is past its time by the clock that counts here is forgotten already.
local function forget_ms(account)
  if account.open > 0 or account.ends >= ENDLESS_MS then return ENDLESS_MS end
  return math.max(account.ends, account.touched) + ACCOUNT_KEPT_MS
end

local function load_account(name)
  local found = redis.call("HMGET", account_key(name), "settled", "held", "open", "end", "touched")
  local account = {
    name = name, exists = found[1] ~= false,
    settled = amount(found[1] or nil), held = amount(found[2] or nil),
    open = tonumber(found[3] or "0"), ends = tonumber(found[4] or "0"), touched = tonumber(found[5] or "0"),
  }
  if account.exists and forget_ms(account) <= now_ms then
    return {name = name, exists = false, settled = ZERO, held = ZERO, open = 0, ends = 0, touched = 0}
  end
  return account
end

local function save_account(account)
  account.touched = math.max(account.touched, now_ms)
  local key = account_key(account.name)
  redis.call("HSET", key, "settled", text(account.settled), "held", text(account.held), "open", account.open,
    "end", string.format("%d", account.ends), "touched", string.format("%d", account.touched))
  if forget_ms(account) >= ENDLESS_MS then
    redis.call("PERSIST", key)
  else
    redis.call("PEXPIRE", key, string.format("%d", forget_ms(account) - now_ms))
  end
end

local function load_reservation(id)
  local found = redis.call("HMGET", reservation_key(id), "state", "held", "charged", "lease", "terms", "accounts",
    "grant", "forget")
  if not found[1] or (found[8] and tonumber(found[8]) <= now_ms) then return nil end
  return {
    id = id, state = found[1], held = amount(found[2]), charged = amount(found[3]), lease = tonumber(found[4]),
    terms = cjson.decode(found[5]), accounts = cjson.decode(found[6]), grant = found[7],
  }
end

local function list_json(list) if #list == 0 then return "[]" end return cjson.encode(list) end

local function save_reservation(r)
  redis.call("HSET", reservation_key(r.id), "state", r.state, "held", text(r.held), "charged", text(r.charged),
    "lease", string.format("%d", r.lease), "terms", list_json(r.terms), "accounts", list_json(r.accounts),
    "grant", r.grant, "forget", string.format("%d", r.forget or ENDLESS_MS))
  if r.state == "open" then
    redis.call("PERSIST", reservation_key(r.id))
    redis.call("ZADD", LEASES, string.format("%d", r.lease), r.id)
  end
end

-- A term: account, budget, owner, limit, "1" where hard, the window's end.
local function room_in(term, accounts)
  local account = accounts[term[1]]
  local limit = MAX
  if term[5] == "1" then limit = amount(term[4]) end
  return sub(sub(limit, account.settled), account.held)
end

local function accounts_of(terms)
  local found = {}
  for _, term in ipairs(terms) do
    if not found[term[1]] then found[term[1]] = load_account(term[1]) end
  end
  return found
end

local function room(terms, accounts)
  local found = MAX
  for index, term in ipairs(terms) do
    local here = room_in(term, accounts)
    if index == 1 or less(here, found) then found = here end
  end
  return never_below_zero(found)
end

local function denied(terms, accounts, wanted)
  local tightest, tight = nil, nil
  for _, term in ipairs(terms) do
    local here = room_in(term, accounts)
    if not tightest or less(here, tight) then tightest, tight = term, here end
  end
  local stands, limit = accounts[tightest[1]], text(MAX)
  if tightest[5] == "1" then limit = tightest[4] end
  local resets = ""
  if tonumber(tightest[6]) < ENDLESS_MS then resets = tightest[6] end
  return {"denied", tightest[2], tightest[3], limit, text(stands.settled), text(stands.held), wanted, resets}
end

local function granted(r, accounts)
  local headroom, over = nil, {}
  for _, term in ipairs(r.terms) do
    local account = accounts[term[1]]
    local left = sub(sub(amount(term[4]), account.settled), account.held)
    if term[5] == "1" then
      left = never_below_zero(left)
      if not headroom then headroom = left else headroom = least(headroom, left) end
    elseif left[1] < 0 then
      over[#over + 1] = term[2]
    end
  end
  local shown = ""
  if headroom then shown = text(headroom) end
  return cjson.encode({text(r.held), shown, list_json(r.accounts), list_json(over)})
end

local function close(r, charge, state)
  if r.state ~= "open" and r.state ~= "expired" then return end
  local is_open = r.state == "open"
  for _, name in ipairs(r.accounts) do
    local account = load_account(name)
    account.settled = least(add(never_below_zero(sub(account.settled, r.charged)), charge), MAX)
    if is_open then
      account.held = never_below_zero(sub(account.held, r.held))
      account.open = account.open - 1
    end
    save_account(account)
  end
  local kept = CLOSED_KEPT_MS
  if state == "expired" then kept = EXPIRED_KEPT_MS end
  r.state, r.charged, r.forget = state, charge, now_ms + kept
  save_reservation(r)
  redis.call("ZREM", LEASES, r.id)
  redis.call("PEXPIRE", reservation_key(r.id), string.format("%d", kept))
end

if not IS_REBUILD and redis.call("GET", KEYS[1]) ~= ARGV[3] then return {"lost"} end
now_ms = moment()
