"""Style and script of the HTML page. No request leaves it: everything is in the one file."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --paper: #ffffff;
  --band: #f3f5f7; --rule: #d7dce1; --blocker: #b3261e; --warning: #8a5a00; --info: #1b5e9c; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { --ink: #e6e8ea;
  --soft: #a3acb6; --paper: #15181b; --band: #1e2226; --rule: #363c43; --blocker: #ff8a80;
  --warning: #f2b84b; --info: #7db8f0; } }
:root[data-theme=dark] { color-scheme: dark; --ink: #e6e8ea; --soft: #a3acb6; --paper: #15181b;
  --band: #1e2226; --rule: #363c43; --blocker: #ff8a80; --warning: #f2b84b; --info: #7db8f0; }
:root[data-theme=light] { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
.about { color: var(--soft); margin: .25rem 0 1rem; }
.verdict { font-weight: 600; border-left: .3rem solid var(--info); padding: .4rem .8rem;
  background: var(--band); } .verdict.blocked { border-color: var(--blocker); }
.tools { display: flex; flex-wrap: wrap; gap: .75rem 1rem; align-items: center;
  margin: 1rem 0; position: sticky; top: 0; background: var(--paper); padding: .5rem 0; }
input[type=search] { flex: 1 1 16rem; font: inherit; padding: .35rem .6rem; color: inherit;
  background: var(--band); border: 1px solid var(--rule); border-radius: .3rem; }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--rule);
  border-radius: .3rem; padding: .3rem .7rem; cursor: pointer; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; border-bottom: 2px solid var(--rule); padding: .3rem .5rem; }
th button { border: 0; padding: 0; font-weight: 600; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td { vertical-align: top; border-bottom: 1px solid var(--rule); padding: .5rem;
  overflow-wrap: anywhere; }
.severity { font-weight: 600; white-space: nowrap; }
.blocker .severity { color: var(--blocker); } .warning .severity { color: var(--warning); }
.info .severity { color: var(--info); } tr.ignored { opacity: .65; }
code, pre { font: .88rem/1.45 ui-monospace, monospace; }
pre { background: var(--band); padding: .7rem; overflow-x: auto; border-radius: .3rem; }
details summary { cursor: pointer; color: var(--soft); } details p { margin: .4rem 0; }
ins { text-decoration: none; color: #1a7f37; } del { text-decoration: none; color: var(--blocker); }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) ins { color: #6fdd8b; } }
:root[data-theme=dark] ins { color: #6fdd8b; }
@media print { .tools { display: none; } body { max-width: none; padding: 0; font-size: 11px; }
  tr, pre { break-inside: avoid; } thead { display: table-header-group; } }
"""

SCRIPT = """
(() => {
  "use strict";
  const body = document.querySelector("#findings tbody");
  const rows = body ? [...body.rows] : [];
  const search = document.querySelector("#search");
  const boxes = [...document.querySelectorAll(".tools input[type=checkbox]")];
  const shown = document.querySelector("#shown");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter(b => b.checked).map(b => b.value));
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(wanted.has(row.dataset.word) && words.every(w => text.includes(w)));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length}`;
  };
  const sort = (column, header) => {
    const down = header.getAttribute("aria-sort") === "ascending";
    const key = row => row.cells[column].dataset.key || row.cells[column].textContent;
    const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
    for (const other of header.parentNode.cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...rows].sort((a, b) => down ? order(b, a) : order(a, b)));
  };
  if (body) {
    search.addEventListener("input", filter);
    boxes.forEach(box => box.addEventListener("change", filter));
    document.querySelectorAll("#findings th").forEach((header, column) =>
      header.querySelector("button").addEventListener("click", () => sort(column, header)));
    filter();
  }
  document.querySelector("#theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  document.querySelector("#print").addEventListener("click", () => print());
  addEventListener("beforeprint", () =>
    document.querySelectorAll("details").forEach(d => { d.open = true; }));
})();
"""
