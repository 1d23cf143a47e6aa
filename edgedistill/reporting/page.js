"use strict";
// Reading needs none of this: it sorts tables, opens what a link leads into, and switches light and dark.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    const badges = [...head.querySelectorAll(".badge")];
    badges.forEach((badge) => badge.remove());
    button.textContent = head.textContent.trim();
    head.replaceChildren(button, ...badges);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const key = (row) => {
        const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim();
        return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
      };
      const order = (a, b) => typeof a === typeof b
        ? (typeof a === "number" ? a - b : a.localeCompare(b)) : (typeof a === "number" ? -1 : 1);
      const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * order(key(a), key(b)));
      body.append(...rows);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}
const reveal = () => { // browsers that do not open what a link leads into
  const target = document.getElementById(location.hash.slice(1)), closed = target?.closest("details:not([open])");
  if (closed) { closed.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", reveal);
reveal();
const theme = document.getElementById("theme");
theme.hidden = false;
const dark = () => (document.documentElement.dataset.theme
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
name();
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  name();
});
