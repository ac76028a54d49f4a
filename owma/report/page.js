"use strict";
// Tables that are sorted, filtered and taken along; pictures that are taken along; parts that open when they are linked to.
(function () {
  function save(name, address) {
    const link = document.createElement("a");
    link.href = address; link.download = name;
    document.body.appendChild(link);
    link.click();
    link.remove();
  }

  const asFile = (text, type) => URL.createObjectURL(new Blob([text], { type }));
  const named = (element) => {
    const section = element.closest("section"), all = [...document.querySelectorAll("table, figure")];
    return `${section ? section.id : "owma"}-${all.indexOf(element) + 1}`;
  };

  function button(text, label, pressed) {
    const made = document.createElement("button");
    made.type = "button"; made.textContent = text; made.setAttribute("aria-label", label);
    made.addEventListener("click", pressed);
    return made;
  }

  // The first number of a cell; words sort as words, and a dash comes last whichever way.
  function value(cell) {
    const text = cell.textContent.trim(), number = text.match(/^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/i);
    return text === "–" || text === "" ? null : number ? Number(number[0].replace(/,/g, "")) : text.toLowerCase();
  }

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      const text = head.textContent;
      head.textContent = "";
      head.appendChild(button(text, `sort by ${text}`, () => {
        // The best of numbers is mostly the highest one, of words the first.
        const first = [...body.rows].map((row) => value(row.cells[column])).find((v) => v !== null);
        const now = head.getAttribute("aria-sort");
        const up = now ? now === "descending" : typeof first === "string";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => [value(row.cells[column]), row]);
        keyed.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
          return up ? order : -order;
        });
        body.append(...keyed.map(([, row]) => row));
      }));
    });
  }

  const cells = (table) => [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
  const csv = (table) => cells(table).map((row) => row.map((text) => `"${text.replace(/"/g, '""')}"`).join(",")).join("\r\n") + "\r\n";

  const SPECIAL = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--", "ψ": "$\\psi$", "λ": "$\\lambda$", "φ": "$\\varphi$",
    "Δ": "$\\Delta$", "ρ": "$\\rho$", "‖": "$\\|$", "²": "$^2$",
  };
  function latex(table) {
    const rows = cells(table).map((row) => row.map((text) => text.replace(/[\\&%$#_{}~^–ψλφΔρ‖²]/g, (c) => SPECIAL[c])));
    const [heads, ...others] = rows.map((row) => `${row.join(" & ")} \\\\`);
    const columns = `l${"r".repeat(rows[0].length - 1)}`;
    return [`\\begin{tabular}{${columns}}`, "\\hline", heads, "\\hline", ...others, "\\hline", "\\end{tabular}", ""].join("\n");
  }

  for (const table of document.querySelectorAll("table.tooled")) {
    sortable(table);
    const tools = document.createElement("div");
    tools.className = "tools";
    if (table.tBodies[0].rows.length > 5) {
      const label = document.createElement("label"), asked = document.createElement("input");
      asked.type = "search";
      label.append("rows with ", asked);
      asked.addEventListener("input", () => {
        const words = asked.value.toLowerCase().split(/\s+/).filter(Boolean);
        for (const row of table.tBodies[0].rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      });
      tools.append(label);
    }
    tools.append(
      button("CSV", "save this table as CSV", () => save(`${named(table)}.csv`, asFile(csv(table), "text/csv"))),
      button("LaTeX", "save this table as LaTeX", () => save(`${named(table)}.tex`, asFile(latex(table), "text/plain"))),
    );
    table.parentElement.before(tools);
  }

  for (const figure of document.querySelectorAll("figure")) {
    const address = figure.querySelector("img").src, kind = address.slice(11, address.indexOf(";")).replace("+xml", "");
    figure.querySelector("figcaption").append(" ", button(kind.toUpperCase(), `save this picture as ${kind.toUpperCase()}`, () => save(`${named(figure)}.${kind}`, address)));
  }

  // Names break where their words end, if there is little room.
  for (const cell of innerWidth >= 640 ? [] : document.querySelectorAll("table.tooled tbody td:first-child")) {
    const parts = cell.textContent.split(/(?<=[_=-])/);
    cell.replaceChildren(...parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part])));
  }

  if (innerWidth < 640) for (const part of document.querySelectorAll("details[data-folds]")) part.open = false;

  function unfold() {
    const part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = part && part.querySelector("details.part");
    if (details) { details.open = true; part.scrollIntoView(); }
  }
  addEventListener("hashchange", unfold);
  unfold();
})();
