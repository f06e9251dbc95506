"use strict";
// Sorts the tables of tenants, and filters the one of all. Without it the page is whole, in the order
// of names.
(() => {
  const filter = document.getElementById("filter");
  const odd = document.getElementById("odd");
  const names = new Intl.Collator("en", { numeric: true });

  const compare = (column, a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if ("v" in x.dataset) return Number(x.dataset.v) - Number(y.dataset.v);
    return names.compare(x.textContent, y.textContent);
  };

  const tell = (table, more) => {
    const rows = [...table.tBodies[0].rows];
    const shown = rows.filter((row) => !row.hidden).length;
    const said = table.closest("section").querySelector(".said");
    said.textContent = `${shown} of ${rows.length} tenants${more}`;
  };

  const sort = (table, headers, header) => {
    const column = headers.indexOf(header);
    const was = header.getAttribute("aria-sort");
    // Of numbers the largest are wanted first.
    const first = header.classList.contains("t") ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = was === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => sign * compare(column, a, b) || compare(0, a, b)));
    headers.forEach((h) => h.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", order);
    tell(table, `, sorted by ${header.textContent.trim()}, ${order}`);
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const headers = [...table.tHead.rows[0].cells];
    for (const header of headers) {
      const button = header.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => sort(table, headers, header));
    }
    tell(table, "");
  }

  const all = document.getElementById("tenants-table");
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of all.tBodies[0].rows) {
      const named = row.cells[0].textContent.toLowerCase().includes(wanted);
      row.hidden = !named || (odd.checked && !row.classList.contains("odd"));
    }
    tell(all, "");
  };
  filter.form.hidden = false;
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", show);
  odd.addEventListener("change", show);
  show();
})();
