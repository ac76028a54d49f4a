"use strict";
(function () {
  const data = JSON.parse(document.getElementById("decision-data").textContent);
  const SPACE = "http://www.w3.org/2000/svg";
  const W = 320, H = 230, LEFT = 46, BOTTOM = 34, TOP = 22, RIGHT = 10;
  const BLUE = "#0f6fb3", GREY = "#6b7482", ORANGE = "#d9541e", WALL = "#ccd2da";
  const at = (id) => document.getElementById(id);
  const chooser = at("decision-state"), slider = at("decision-step");
  const shown = (x) => (Math.abs(x) >= 1000 ? x.toFixed(0) : Number(x.toPrecision(3)).toString());

  function add(parent, name, attributes, text) {
    const element = document.createElementNS(SPACE, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  }

  function range(values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    const margin = 0.04 * (high - low);
    return [low - margin, high + margin];
  }

  // An empty panel with axes; gives the maps from values to its coordinates.
  function panel(id, title, xs, ys, xlabel) {
    const svg = at(id);
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.setAttribute("aria-label", title);
    add(svg, "text", { x: LEFT, y: 14, "font-weight": "bold" }, title);
    const x = (v) => LEFT + (W - LEFT - RIGHT) * (v - xs[0]) / (xs[1] - xs[0]);
    const y = (v) => H - BOTTOM - (H - BOTTOM - TOP) * (v - ys[0]) / (ys[1] - ys[0]);
    add(svg, "path", { d: `M${LEFT} ${TOP}V${H - BOTTOM}H${W - RIGHT}`, fill: "none", stroke: "#9aa1ac" });
    for (const part of [0.1, 0.5, 0.9]) {
      const vx = xs[0] + part * (xs[1] - xs[0]), vy = ys[0] + part * (ys[1] - ys[0]);
      add(svg, "text", { x: x(vx), y: H - BOTTOM + 14, "text-anchor": "middle" }, shown(vx));
      add(svg, "text", { x: LEFT - 5, y: y(vy) + 4, "text-anchor": "end" }, shown(vy));
    }
    add(svg, "text", { x: (LEFT + W - RIGHT) / 2, y: H - 5, "text-anchor": "middle" }, xlabel);
    return { svg, x, y };
  }

  function outcomes(state, step) {
    const all = state.psi.flat();
    const view = panel("decision-psi", "Outcomes ψ: first two principal directions",
      range(all.map((p) => p[0]).concat(state.plan.psi[0])), range(all.map((p) => p[1]).concat(state.plan.psi[1])),
      "first (grey: trained model, blue: adapted)");
    const dots = (points, colour) => {
      for (const p of points) add(view.svg, "circle", { cx: view.x(p[0]), cy: view.y(p[1]), r: 2.6, fill: colour, "fill-opacity": 0.55 });
    };
    dots(state.psi[0], GREY);
    dots(state.psi[step], BLUE);
    const chosen = add(view.svg, "path", {
      d: `M${view.x(state.plan.psi[0])} ${view.y(state.plan.psi[1])}m-6 0h12m-6 -6v12`, stroke: ORANGE, "stroke-width": 2.5 });
    add(chosen, "title", {}, `the plan that was chosen: V = ${shown(state.plan.value)}`);
  }

  function histogram(state, step) {
    const bins = 24, xs = range(state.values.flat());
    const count = (values) => {
      const found = new Array(bins).fill(0);
      for (const v of values) found[Math.min(bins - 1, Math.max(0, Math.floor(bins * (v - xs[0]) / (xs[1] - xs[0]))))] += 1;
      return found;
    };
    const before = count(state.values[0]), after = count(state.values[step]);
    const view = panel("decision-values", "Values V(ψ) of the draws", xs, [0, Math.max(...before, ...after) * 1.05], "V, return units");
    const width = (xs[1] - xs[0]) / bins;
    [[before, GREY], [after, BLUE]].forEach(([found, colour]) => found.forEach((n, i) => {
      const left = view.x(xs[0] + i * width), right = view.x(xs[0] + (i + 1) * width);
      if (n) add(view.svg, "rect", { x: left, width: right - left, y: view.y(n), height: view.y(0) - view.y(n), fill: colour, "fill-opacity": 0.5 });
    }));
    const chosen = view.x(state.plan.value);
    add(view.svg, "path", { d: `M${chosen} ${TOP}V${H - BOTTOM}`, stroke: ORANGE, "stroke-dasharray": "4 3" });
  }

  function curve(id, title, ys, step, colour) {
    const view = panel(id, title, [-0.3, ys.length - 0.7], range(ys), "adaptation step");
    const points = ys.map((v, i) => `${view.x(i)},${view.y(v)}`).join(" ");
    add(view.svg, "polyline", { points, fill: "none", stroke: colour, "stroke-width": 2 });
    add(view.svg, "circle", { cx: view.x(step), cy: view.y(ys[step]), r: 5, fill: colour });
  }

  function map(chosen) {
    const svg = at("decision-map");
    if (!svg) return;
    svg.replaceChildren();
    const rows = data.maze.length, columns = data.maze[0].length;
    svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    data.maze.forEach((cells, row) => cells.forEach((cell, column) => {
      if (cell === 1) add(svg, "rect", { x: column, y: row, width: 1, height: 1, fill: WALL });
    }));
    data.states.forEach((state, i) => {
      const spot = add(svg, "circle", {
        cx: state.position[0] + columns / 2, cy: rows / 2 - state.position[1], r: i === chosen ? 0.3 : 0.2,
        fill: i === chosen ? BLUE : "#fff", stroke: BLUE, "stroke-width": 0.07, class: "state", tabindex: 0, role: "button",
        "aria-label": `state ${i + 1}` });
      const choose = () => { chooser.value = String(i); draw(); };
      spot.addEventListener("click", choose);
      spot.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
    });
  }

  function draw() {
    const number = Number(chooser.value), state = data.states[number];
    slider.max = String(state.kl.length - 1);
    const step = Math.min(Number(slider.value), state.kl.length - 1);
    const mean = state.values[step].reduce((a, b) => a + b, 0) / state.values[step].length;
    at("decision-told").textContent = `step ${step} of ${state.kl.length - 1}: E[V] = ${shown(mean)}, ` +
      `KL = ${shown(state.kl[step])} nats, J = ${shown(state.objective[step])}`;
    outcomes(state, step);
    histogram(state, step);
    curve("decision-kl", "KL, nats", state.kl, step, ORANGE);
    curve("decision-objective", `J at λ = ${shown(data.kl_coef)}`, state.objective, step, BLUE);
    map(number);
    at("decision-optimum").replaceChildren(...state.optimum.map((found) => {
      const row = document.createElement("tr");
      for (const key of ["kl_coef", "objective", "value", "kl", "rare_share", "ess"]) {
        const cell = document.createElement("td");
        cell.textContent = shown(found[key]);
        row.appendChild(cell);
      }
      return row;
    }));
  }

  data.states.forEach((state, i) => {
    const option = document.createElement("option");
    option.value = String(i);
    option.textContent = `${i + 1}: after ${state.step} steps, at (${state.position.map(shown).join(", ")})`;
    chooser.appendChild(option);
  });
  slider.max = String(data.states[0].kl.length - 1);
  slider.value = slider.max;
  chooser.addEventListener("change", draw);
  slider.addEventListener("input", draw);
  draw();
})();
