(function () {
  const told = JSON.parse(document.getElementById("told").textContent);
  const { unpack, shown, percent } = outcomes;
  const at = (id) => document.getElementById(id);
  const plans = told.states[0].plans, last = plans[0].kl.length - 1;
  const ways = outcomes.lines(told.map.paths, told.map.points);
  const SLOWER = 1.6;  // than the ball is: it takes two seconds
  let stop = () => {};

  const panels = {};
  for (const name of ["data", "model", "task"]) {
    const { svg, layer } = outcomes.chart(at(`of-${name}`).querySelector("svg"), told.map, 0.55);
    const [left, bottom, , top] = told.map.box, ground = layer(), side = told.map.side;
    told.pays.forEach((row, i) => row.forEach((pay, j) => {
      const place = { x: left + j * side, y: i * side - top, width: side, height: side };
      if (pay) outcomes.add(ground, "rect", { ...place, class: "pays", opacity: (0.15 + 0.4 * pay).toFixed(2) });
    }));
    const drawn = layer(), marks = layer(), words = layer("words");
    outcomes.spot(marks, ...told.start, 0.2, "start");
    outcomes.star(marks, ...told.goal, 0.4);
    outcomes.add(words, "text", { x: told.start[0] - 0.2, y: 0.88 - top }, "start");
    outcomes.add(words, "text", { x: left + 1.05, y: -bottom - 0.66 }, "the task pays here");
    outcomes.add(words, "text", { x: told.goal[0], y: -bottom - 0.66, "text-anchor": "middle" }, "goal");
    panels[name] = { drawn, balls: layer() };
  }

  const coef = outcomes.choice(at("lambda"), told.kl_coefs.length, (i) => `λ = ${shown(told.kl_coefs[i])}`, chosen);
  const step = outcomes.choice(at("step"), last + 1, (i) => `step ${i} of ${last}`, chosen);
  coef.set(told.own);
  step.set(last);

  const counted = unpack(plans[0].draws).length / (last + 1);
  const drawsOf = (plan, number) => unpack(plan.draws).subarray(number * counted, (number + 1) * counted);
  const rounded = (x) => (Math.abs(x) < 100 ? x.toFixed(1) : shown(x));

  // One future in how many: 2 digits, in words where it is many.
  function odds(nats) {
    const many = Number(Math.exp(nats).toPrecision(2));
    return many >= 1e6 ? `${Number((many / 1e6).toPrecision(2)).toLocaleString("en")} million` : many.toLocaleString("en");
  }

  function draw() {
    const plan = plans[coef.at()], now = step.at(), balls = told.episodes.after[coef.at()];
    const isWorth = plan.objective[last] > plan.objective[0];
    const nats = Math.max(0, plan.kl[now]), lambda = shown(told.kl_coefs[coef.at()]);
    outcomes.draw(panels.task.drawn, ways, drawsOf(plan, now), now ? "after" : "before");
    at("step-is").textContent = `${now} of ${last}`;
    at("lambda-is").textContent = lambda;
    at("after-title").textContent = (now ? `After ${now} adaptation step${now > 1 ? "s" : ""}` : "Before the first step") +
      (isWorth || now < last ? "" : ": too dear");
    at("after-share").textContent = percent(plan.lower[now]);
    at("fact-share").textContent = `${percent(plan.lower[0])} → ${percent(plan.lower[now])}`;
    at("fact-value").textContent = `${rounded(plan.value[0])} → ${rounded(plan.value[now])}`;
    at("fact-nats").textContent = `${nats.toFixed(1)} nats`;
    at("note-nats").textContent = nats < 0.05 ? "nothing has changed yet" : `at most like picking 1 future out of ${odds(nats)}`;
    at("fact-balls").textContent = `${told.episodes.before.success} → ${balls.success} of ${balls.of}`;
    at("note-balls").textContent = isWorth ? `take the lower way, adapting as they go, at λ = ${lambda}`
      : `take the lower way at λ = ${lambda}: steps cost more than they bring, so plans are weighed back towards the data`;
  }

  function say() {
    const plan = plans[coef.at()], now = step.at();
    at("said").textContent = `${at("after-title").textContent}, at λ = ${shown(told.kl_coefs[coef.at()])}: ` +
      `${percent(plan.lower[now])} of the expected futures take the lower way, the expected reward is ` +
      `${rounded(plan.value[now])}, ${Math.max(0, plan.kl[now]).toFixed(1)} nats are paid.`;
  }

  // Balls where they are at a share of the time: those of the trained model, and of the adapted one.
  const rolling = [];
  function place(share) {
    for (const { group, numbers, frames, count, name } of rolling) {
      const exact = share * (frames - 1), frame = Math.min(frames - 2, Math.floor(exact)), part = exact - frame;
      group.replaceChildren();
      for (let i = 0; i < count; i++) {
        const from = 2 * (i * frames + frame), mix = (k) => numbers[from + k] * (1 - part) + numbers[from + 2 + k] * part;
        outcomes.spot(group, mix(0), mix(1), 0.15, `ball ${name}`);
      }
    }
  }

  function load() {
    rolling.length = 0;
    for (const [panel, one, name] of [["model", told.episodes.before, "before"], ["task", told.episodes.after[coef.at()], "after"]]) {
      rolling.push({ group: panels[panel].balls, numbers: unpack(one.ways), frames: one.frames, count: one.of, name });
    }
    place(0);
  }

  // The balls of λ go only where all steps have been made: these are what they were decided by.
  function roll() {
    const began = performance.now(), time = 1000 * SLOWER * told.episodes.before.seconds;
    let request = 0;
    if (outcomes.calm()) return place(1);
    const frame = (now) => {
      const share = Math.min(1, Math.max(0, (now - began) / time));
      place(share);
      if (share < 1) request = requestAnimationFrame(frame);
    };
    request = requestAnimationFrame(frame);
    stop = () => cancelAnimationFrame(request);
  }

  function chosen() {
    stop();
    load();
    draw();
    say();
  }

  at("play").addEventListener("click", () => {
    stop();
    load();
    stop = outcomes.play(last + 1, 320, (i) => { step.set(i); draw(); }, () => { say(); roll(); });
  });

  outcomes.draw(panels.data.drawn, outcomes.lines(told.recorded.paths, told.recorded.points),
    Array.from({ length: told.recorded.shown }, (_, i) => i), "before");
  outcomes.draw(panels.model.drawn, ways, drawsOf(plans[0], 0), "before");
  at("data-share").textContent = percent(told.recorded.lower);
  at("before-share").textContent = percent(plans[0].lower[0]);
  load();
  draw();
  if (!outcomes.calm()) { const timer = setTimeout(roll, 1200); stop = () => clearTimeout(timer); }
})();
