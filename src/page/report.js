"use strict";
// Sorts and filters the table of tenants. Without it the page is whole, in the order of names.
(() => {
  const table = document.getElementById("tenant-table");
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const said = document.getElementById("said");
  const filter = document.getElementById("filter");
  const odd = document.getElementById("odd");
  const names = new Intl.Collator("en", { numeric: true });

  const compare = (column, a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if ("v" in x.dataset) return Number(x.dataset.v) - Number(y.dataset.v);
    return names.compare(x.textContent, y.textContent);
  };

  const sort = (header) => {
    const column = headers.indexOf(header);
    const was = header.getAttribute("aria-sort");
    // Of numbers the largest are wanted first.
    const first = header.classList.contains("n") ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = was === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((a, b) => sign * compare(column, a, b) || compare(0, a, b));
    body.append(...rows);
    headers.forEach((h) => h.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", order);
    tell(`, sorted by ${header.textContent.trim()}, ${order}`);
  };

  const tell = (more) => {
    const rows = [...body.rows];
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = `${shown} of ${rows.length} tenants${more}`;
  };

  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of body.rows) {
      const named = row.cells[0].textContent.toLowerCase().includes(wanted);
      row.hidden = !named || (odd.checked && !row.classList.contains("odd"));
    }
    tell("");
  };

  headers.forEach((header) => {
    const button = header.querySelector("button");
    button.disabled = false;
    button.addEventListener("click", () => sort(header));
  });
  filter.form.hidden = false;
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", show);
  odd.addEventListener("change", show);
  show();
})();
