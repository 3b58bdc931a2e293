// Elements from data: text is always text, never markup.

export const byId = (id) => document.getElementById(id);

export const h = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "onclick") node.addEventListener("click", value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};

// New content in place of the old; whoever had the focus keeps it.
export const swap = (node, ...children) => {
  const kept = node.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  if (kept) node.querySelector(`[data-focus="${CSS.escape(kept)}"]`)?.focus();
};

// On a phone rows become cards by style; the roles keep it a table for whoever hears it.
export const table = (caption, columns, rows, { kind = "", wide = false } = {}) => {
  const head = h("tr", { role: "row" }, columns.map((column) =>
    h("th", { role: "columnheader", scope: "col", class: column.number ? "n" : "" }, column.name)));
  const body = rows.map((row) => {
    const cells = columns.map((column, index) => h(index === 0 ? "th" : "td", {
      role: index === 0 ? "rowheader" : "cell", scope: index === 0 ? "row" : null,
      class: [column.number ? "n" : "", column.class ?? ""].join(" ").trim(), "data-label": column.name,
    }, row.cells[index]));
    return h("tr", { role: "row", class: row.class, "data-id": row.id, onclick: row.onclick }, cells);
  });
  return h("table", { role: "table", class: `${kind} ${wide ? "wide" : ""}`.trim() },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, body));
};
