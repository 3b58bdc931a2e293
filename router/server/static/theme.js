// Before the first paint, so that a page that was asked to be dark never flashes light. The choice is kept.
(() => {
  const order = ["system", "light", "dark"];
  const kept = () => {
    try { return localStorage.getItem("tollgate-theme") ?? "system"; } catch { return "system"; }
  };
  const apply = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
  };
  let current = order.includes(kept()) ? kept() : "system";
  apply(current);
  globalThis.tollgateTheme = {
    get name() { return current; },
    next() {
      current = order[(order.indexOf(current) + 1) % order.length];
      try { localStorage.setItem("tollgate-theme", current); } catch { /* a browser that keeps nothing */ }
      apply(current);
      return current;
    },
  };
})();
