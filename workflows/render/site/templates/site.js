"use strict";
// DataTables' own colours follow this class, ours the system's setting.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();

document.addEventListener("DOMContentLoaded", async () => {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        // Not every browser lets a page that was opened from a file write to the clipboard.
        window.getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
    });
  }
  // The menu closes when something else is clicked.
  const menu = document.querySelector(".menu");
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  const sortable = document.querySelectorAll("table.sortable");
  if (sortable.length) {
    const { default: DataTable } = await window.datatables;
    for (const table of sortable) {
      new DataTable(table, {
        paging: false,
        info: false,
        searching: "search" in table.dataset,
        autoWidth: false,
        // As the experiments list them, until a heading is clicked.
        order: [],
        language: { search: "Filter" },
      });
    }
  }
  document.documentElement.dataset.ready = "";
});
