"use strict";
// DataTables takes its dark colours from a class; our own style sheet follows the system.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const applyScheme = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", applyScheme);
applyScheme();

document.addEventListener("DOMContentLoaded", async () => {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        // Some browsers forbid a page that was opened from a file to write to the clipboard.
        window.getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
    });
  }
  // A click outside a menu closes the menu, and so does Escape.
  const menus = [...document.querySelectorAll(".menu")];
  document.addEventListener("click", (event) => {
    for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of menus) menu.open = false;
    const direction = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (direction && !event.altKey && !event.ctrlKey && !event.metaKey) {
      document.querySelector(`a[rel=${direction}]`)?.click();
    }
  });
  // A link to a table of one protocol selects that protocol.
  const showProtocol = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const protocol = target?.closest("[data-protocol]")?.dataset.protocol;
    const button = protocol && document.querySelector(`input[name=protocol][value=${protocol}]`);
    if (button) {
      button.checked = true;
      target.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", showProtocol);
  showProtocol();
  const sortable = document.querySelectorAll("table.sortable");
  if (sortable.length) {
    const { default: DataTable } = await window.datatables;
    for (const table of sortable) {
      const dataTable = new DataTable(table, {
        paging: false,
        info: false,
        layout: {
          topStart: null, topEnd: "search" in table.dataset ? "search" : null,
          bottomStart: null, bottomEnd: null,
        },
        autoWidth: false,
        // Rows keep the order of the experiments until a heading is clicked.
        order: [],
        language: { search: "Filter" },
      });
      for (const select of document.querySelectorAll("select[data-column]")) {
        const filterRows = () => dataTable.column(select.dataset.column).search(select.value).draw();
        select.addEventListener("change", filterRows);
        if (select.value) filterRows();
      }
    }
  }
  document.documentElement.dataset.ready = "";
});
