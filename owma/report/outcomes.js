"use strict";
// What the explorer of a report and the demo share: numbers unpacked, outcomes drawn as ways on a map.
const outcomes = (function () {
  const SPACE = "http://www.w3.org/2000/svg";
  const TYPES = { 8: Uint8Array, 16: Uint16Array };

  // The numbers of `owma.report.futures.packed`.
  function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.codes), (c) => c.charCodeAt(0));
    const codes = new TYPES[packed.bits](bytes.buffer);
    return Float64Array.from(codes, (code) => packed.low + packed.step * code);
  }

  function add(parent, name, attributes, text) {
    const element = document.createElementNS(SPACE, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  }

  const shown = (x) => (Math.abs(x) >= 1000 ? x.toFixed(0) : Number(x.toPrecision(3)).toString());
  const percent = (share) => `${Math.round(100 * share)} %`;

  // Lists of points "x,y x,y ...", `points` of them each; y grows downwards in SVG, upwards on the map.
  function lines(packed, points) {
    const numbers = unpack(packed), found = [];
    for (let at = 0; at < numbers.length; at += 2 * points) {
      const line = [];
      for (let i = at; i < at + 2 * points; i += 2) line.push(`${numbers[i].toFixed(3)},${(-numbers[i + 1]).toFixed(3)}`);
      found.push(line.join(" "));
    }
    return found;
  }

  // The map in `svg`, its walls drawn; `layer()` gives a group above what is there. `trim`: how much of the edge is cut.
  function chart(svg, map, trim = 0) {
    const [left, bottom, right, top] = map.box, width = right - left, height = top - bottom;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `${left + trim} ${trim - top} ${width - 2 * trim} ${height - 2 * trim}`);
    add(svg, "rect", { x: left, y: -top, width, height, class: "floor" });
    const cell = (i, j) => `M${left + j * map.side} ${i * map.side - top}h${map.side}v${map.side}h${-map.side}z`;
    const walls = (map.walls || []).flatMap((row, i) => row.map((wall, j) => (wall ? cell(i, j) : "")));
    add(svg, "path", { d: walls.join("") || "M0 0", class: "wall" });
    const layer = (name) => add(svg, "g", { class: name || "" });
    return { svg, unit: Math.min(width, height) / 7, layer };
  }

  function star(group, x, y, size) {
    const corners = [];
    for (let i = 0; i < 10; i++) {
      const radius = size * (i % 2 ? 0.42 : 1), angle = Math.PI * (i / 5 - 0.5);
      corners.push(`${(x + radius * Math.cos(angle)).toFixed(3)},${(-y + radius * Math.sin(angle)).toFixed(3)}`);
    }
    return add(group, "polygon", { points: corners.join(" "), class: "goal" });
  }

  const spot = (group, x, y, radius, name) => add(group, "circle", { cx: x, cy: -y, r: radius, class: name });

  // Many ways, see-through: where more of them go, the line is darker.
  function draw(group, ways, numbers, name) {
    group.replaceChildren();
    const counts = new Map();
    for (const number of numbers) counts.set(number, (counts.get(number) || 0) + 1);
    for (const [number, count] of counts) {
      add(group, "polyline", { points: ways[number], class: `way ${name}`, "stroke-opacity": (1 - 0.76 ** count).toFixed(3) });
    }
  }

  // A slider whose positions are the numbers of a list; the value that it has is said, too.
  function choice(slider, count, said, changed) {
    slider.min = "0"; slider.max = String(count - 1); slider.step = "1";
    const tell = () => slider.setAttribute("aria-valuetext", said(Number(slider.value)));
    slider.addEventListener("input", () => { tell(); changed(); });
    return { at: () => Number(slider.value), set: (value) => { slider.value = String(value); tell(); } };
  }

  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Calls `frame(i)` for i below `count`, `pause` milliseconds apart; where motion is not wanted only the last one.
  function play(count, pause, frame, done) {
    let i = calm() ? count - 1 : 0, timer = 0;
    const next = () => {
      frame(i);
      if (++i < count) timer = setTimeout(next, pause); else if (done) timer = setTimeout(done, calm() ? 0 : pause);
    };
    next();
    return () => clearTimeout(timer);
  }

  return { unpack, add, shown, percent, lines, chart, star, spot, draw, choice, calm, play };
})();
