(function () {
  const data = JSON.parse(document.getElementById("decision-data").textContent);
  const { unpack, add, shown, percent } = outcomes;
  const W = 320, H = 230, LEFT = 46, BOTTOM = 34, TOP = 22, RIGHT = 10;
  const at = (id) => document.getElementById(id);
  const chooser = at("decision-state"), steps = data.states[0].plans[0].kl.length;
  const lambda = outcomes.choice(at("decision-lambda"), data.kl_coefs.length, (i) => `λ = ${shown(data.kl_coefs[i])}`, draw);
  const step = outcomes.choice(at("decision-step"), steps, (i) => `step ${i} of ${steps - 1}`, draw);
  const ways = data.map && data.map.paths ? outcomes.lines(data.map.paths, data.map.points) : null;
  let stop = () => {};

  function range(values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    const margin = 0.04 * (high - low);
    return [low - margin, high + margin];
  }

  // Some round numbers within a range.
  function ticks([low, high]) {
    const rough = (high - low) / 5, size = 10 ** Math.floor(Math.log10(rough));
    const by = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= rough) || rough, found = [];
    for (let i = Math.ceil(low / by); i * by <= high; i++) found.push(Number((i * by).toPrecision(6)));
    return found;
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
    add(svg, "path", { d: `M${LEFT} ${TOP}V${H - BOTTOM}H${W - RIGHT}`, class: "axis" });
    for (const v of ticks(xs)) add(svg, "text", { x: x(v), y: H - BOTTOM + 14, "text-anchor": "middle" }, shown(v));
    for (const v of ticks(ys)) add(svg, "text", { x: LEFT - 5, y: y(v) + 4, "text-anchor": "end" }, shown(v));
    add(svg, "text", { x: (LEFT + W - RIGHT) / 2, y: H - 5, "text-anchor": "middle" }, xlabel);
    return { svg, x, y };
  }

  // Where states have no place on a map.
  function directions(state, plan) {
    const all = state.plans.map((one) => unpack(one.psi));
    const points = unpack(plan.psi), chosen = plan.chosen.psi, draws = points.length / steps / 2;
    const every = (part) => [chosen[part], ...all.flatMap((psi) => Array.from(psi).filter((_, i) => i % 2 === part))];
    const view = panel("decision-psi", "Outcomes ψ: first two principal directions", range(every(0)), range(every(1)),
      "first (grey: trained model, blue: adapted)");
    for (const [number, name] of [[0, "before"], [step.at(), "after"]]) {
      for (let i = number * draws; i < (number + 1) * draws; i++) {
        add(view.svg, "circle", { cx: view.x(points[2 * i]), cy: view.y(points[2 * i + 1]), r: 2.6, class: `dot ${name}` });
      }
    }
    const mark = add(view.svg, "path", { d: `M${view.x(chosen[0])} ${view.y(chosen[1])}m-6 0h12m-6 -6v12`, class: "mark" });
    add(mark, "title", {}, `the plan that was chosen: V = ${shown(plan.chosen.value)}`);
  }

  function histogram(plan) {
    const bins = 24, all = unpack(plan.values), draws = all.length / steps, xs = range(all);
    const count = (number) => {
      const found = new Array(bins).fill(0);
      for (const v of all.subarray(number * draws, (number + 1) * draws)) {
        found[Math.min(bins - 1, Math.max(0, Math.floor(bins * (v - xs[0]) / (xs[1] - xs[0]))))] += 1;
      }
      return found;
    };
    const before = count(0), after = count(step.at());
    const view = panel("decision-values", "Values V(ψ) of the draws", xs, [0, Math.max(...before, ...after) * 1.05], "V, return units");
    const width = (xs[1] - xs[0]) / bins;
    [[before, "before"], [after, "after"]].forEach(([found, name]) => found.forEach((n, i) => {
      const left = view.x(xs[0] + i * width), right = view.x(xs[0] + (i + 1) * width);
      if (n) add(view.svg, "rect", { x: left, width: right - left, y: view.y(n), height: view.y(0) - view.y(n), class: `dot ${name}` });
    }));
    const chosen = Math.min(Math.max(view.x(plan.chosen.value), LEFT), W - RIGHT);
    add(view.svg, "path", { d: `M${chosen} ${TOP}V${H - BOTTOM}`, class: "mark", "stroke-dasharray": "4 3" });
  }

  function curve(id, title, ys, name) {
    const view = panel(id, title, [-0.3, ys.length - 0.7], range(ys), "adaptation step");
    const points = ys.map((v, i) => `${view.x(i)},${view.y(v)}`).join(" ");
    add(view.svg, "polyline", { points, class: `curve ${name}` });
    add(view.svg, "circle", { cx: view.x(step.at()), cy: view.y(ys[step.at()]), r: 5, class: `spot ${name}` });
  }

  // `step` 0 in grey below it: what was expected before.
  function map(number, plan) {
    if (!data.map) return;
    const { layer, unit } = outcomes.chart(at("decision-map"), data.map);
    if (ways) {
      const draws = unpack(plan.draws), count = draws.length / steps;
      const numbers = (i) => draws.subarray(i * count, (i + 1) * count);
      if (step.at()) outcomes.draw(layer("was"), ways, numbers(0), "before");
      outcomes.draw(layer(), ways, numbers(step.at()), step.at() ? "after" : "before");
      add(layer(), "polyline", { points: ways[plan.chosen.path], class: "way chosen" });
    }
    if (data.map.goal) outcomes.star(layer(), ...data.map.goal, 0.35 * unit);
    const states = layer();
    data.states.forEach((state, i) => {
      const mark = outcomes.spot(states, ...state.position, unit * (i === number ? 0.18 : 0.12), `state${i === number ? " is-chosen" : ""}`);
      mark.setAttribute("tabindex", "0");
      mark.setAttribute("role", "button");
      mark.setAttribute("aria-label", `state ${i + 1}`);
      const choose = () => { chooser.value = String(i); draw(); at("decision-map").querySelectorAll(".state")[i].focus(); };
      mark.addEventListener("click", choose);
      mark.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
    });
  }

  function draw() {
    const number = Number(chooser.value), state = data.states[number], plan = state.plans[lambda.at()], now = step.at();
    const rare = plan.rare ? `, ${percent(plan.rare[now])} of the draws are worth more than all but 2 % of the trained model's` : "";
    at("decision-told").textContent = `λ = ${shown(data.kl_coefs[lambda.at()])}, step ${now} of ${steps - 1}: E[V] = ` +
      `${shown(plan.value[now])} (${shown(plan.value[0])} before), ${Math.max(0, plan.kl[now]).toFixed(1)} nats paid${rare}`;
    if (!ways && plan.psi) directions(state, plan);
    histogram(plan);
    curve("decision-kl", "KL, nats", plan.kl.map((kl) => Math.max(0, kl)), "cost");
    curve("decision-objective", "Objective J = E[V] − λ KL, units of V's spread", plan.objective, "after");
    map(number, plan);
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
    const where = state.position ? `, at (${state.position.map(shown).join(", ")})` : "";
    option.value = String(i);
    option.textContent = `${i + 1}: after ${state.step} steps${where}`;
    chooser.appendChild(option);
  });
  lambda.set(data.own);
  step.set(steps - 1);
  chooser.addEventListener("change", draw);
  at("decision-play").addEventListener("click", () => {
    stop();
    stop = outcomes.play(steps, 350, (i) => { step.set(i); draw(); });
  });
  draw();
})();
