// What the page asks of the gateway: the same routes as everybody, with the reader's key as a header.

const KEY = "tollgate-key";
let kept = null;

export const key = {
  get: () => { try { return sessionStorage.getItem(KEY) ?? kept; } catch { return kept; } },
  set: (value) => { kept = value; try { sessionStorage.setItem(KEY, value); } catch { /* kept in memory */ } },
  forget: () => { kept = null; try { sessionStorage.removeItem(KEY); } catch { /* kept in memory */ } },
};

export class AskError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind; // away, key, missing, refused
  }
}

const TIMEOUT_MS = 60_000;
const KINDS = { 401: "key", 403: "key", 404: "missing" };

const send = async (path) => {
  const held = key.get();
  try {
    return await fetch(new URL(path, document.baseURI), {
      headers: held ? { authorization: `Bearer ${held}` } : {},
      cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new AskError("away", "The gateway does not answer.");
  }
};

export const ask = async (path, query = {}) => {
  const search = new URLSearchParams(query).toString();
  const answer = await send(search ? `${path}?${search}` : path);
  let body = null;
  try { body = await answer.json(); } catch { /* told below */ }
  if (answer.ok && body !== null) return body;
  const told = body?.error?.message ?? `status ${answer.status}, not in the gateway's own shape`;
  throw new AskError(KINDS[answer.status] ?? "refused", told);
};

// The gateway's clock, not the reader's: spans are cut by the one that wrote the ledger. Its header counts seconds and
// may be a second old: the span ends late enough that what was just written is in it.
const HEADER_LAG_MS = 2000;
export const gatewayNow = async () => {
  const answer = await send("healthz");
  const at = Date.parse(answer.headers.get("date") ?? "");
  return Number.isNaN(at) ? Date.now() : at + HEADER_LAG_MS;
};
