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
  // A menu closes when something else is clicked, and on Escape.
  const menus = [...document.querySelectorAll(".menu")];
  document.addEventListener("click", (event) => {
    for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of menus) menu.open = false;
    const way = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (way && !event.altKey && !event.ctrlKey && !event.metaKey) {
      document.querySelector(`a[rel=${way}]`)?.click();
    }
  });
  // A link to a table of one protocol shows that protocol.
  const show = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const protocol = target?.closest("[data-protocol]")?.dataset.protocol;
    const choice = protocol && document.querySelector(`input[name=protocol][value=${protocol}]`);
    if (choice) {
      choice.checked = true;
      target.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", show);
  show();
  const sortable = document.querySelectorAll("table.sortable");
  if (sortable.length) {
    const { default: DataTable } = await window.datatables;
    for (const table of sortable) {
      const made = new DataTable(table, {
        paging: false,
        info: false,
        layout: {
          topStart: null, topEnd: "search" in table.dataset ? "search" : null,
          bottomStart: null, bottomEnd: null,
        },
        autoWidth: false,
        // As the experiments list them, until a heading is clicked.
        order: [],
        language: { search: "Filter" },
      });
      for (const choice of document.querySelectorAll("select[data-column]")) {
        const narrow = () => made.column(choice.dataset.column).search(choice.value).draw();
        choice.addEventListener("change", narrow);
        if (choice.value) narrow();
      }
    }
  }
  document.documentElement.dataset.ready = "";
});
