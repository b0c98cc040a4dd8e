// Small helpers that change only what is different, so that focus and selection stay where they are.

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

export function svg(tag, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export function setClass(e, name) {
  if (e.className !== name) e.className = name;
}

// keyed makes the children of parent those of items, in their order: create makes a child, update fills it.
export function keyed(parent, items, key, create, update) {
  parent.children_ ??= new Map();
  const old = parent.children_, now = new Map();
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    const child = old.get(k) ?? create(item);
    now.set(k, child);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
    update(child, item);
  }
  for (const [k, child] of old) if (now.get(k) !== child) child.remove();
  parent.children_ = now;
}

// Table fills a table. A column has a title, and fill, which writes an item's cell: it returns the text, or nothing if it did
// all itself. The first column is the row's header.
export class Table {
  constructor(id, columns, empty) {
    this.columns = columns;
    this.empty = empty;
    const head = element("tr", {}, ...columns.map((c) => element("th", { scope: "col", class: c.left ? "left" : "" }, c.title)));
    this.body = element("tbody");
    byId(id).append(element("thead", {}, head), this.body);
  }

  show(items, key) {
    const rows = items.length ? items : [null];
    keyed(this.body, rows, (item) => item === null ? "\0empty" : key(item), (item) => item === null
      ? element("tr", {}, element("td", { class: "empty", colspan: this.columns.length }, this.empty))
      : element("tr", {}, ...this.columns.map((c, i) => i === 0
        ? element("th", { scope: "row" })
        : element("td", { class: c.left ? "left" : "" }))), (row, item) => {
      if (item === null) return;
      setClass(row, item.rowClass ?? "");
      this.columns.forEach((c, i) => {
        const text = c.fill(item, row.cells[i]);
        if (text !== undefined) setText(row.cells[i], text);
      });
    });
  }
}
