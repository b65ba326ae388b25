// How things look and read: symbols, numbers, text for Plotly, axes.

const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross",
  "triangle-left"];
const INK = "#1a1a1a";
const GREY = "#4d4d4d";

// Plotly reads some tags in text; what comes from a table is never one.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;")
  .replace(/>/g, "&gt;");

// The subscripts of η_c and s_gf, in what Plotly shows.
const typeset = (text) => text.replaceAll("η_c", "η<sub>c</sub>").replaceAll("s_gf", "s<sub>gf</sub>");

function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : value;
}

// From the finest to the coarsest: the numbers of a decade that have labels.
const STEPS = [[1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8], [1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1]];

// Where the labels of a logarithmic axis from low to high are: as many as there is room for, null
// where these are less than two.
function logTicks(low, high, across) {
  const room = across && innerWidth < 600 ? 6 : 9;
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const apart = Math.max(1, Math.ceil((last - first) / room));
  for (const steps of STEPS) {
    const ticks = [];
    for (let power = first; power <= last; power += steps.length > 1 ? 1 : apart) {
      ticks.push(...steps.map((step) => Number(`${step}e${power}`)));
    }
    const inside = ticks.filter((tick) => tick >= low && tick <= high);
    if (inside.length <= room) return inside.length > 1 ? inside : null;
  }
  return null;
}

const tickText = (tick) => (tick >= 1e5 || tick < 1e-4 ? tick.toExponential() : String(tick));

// The ticks of an axis whose range is in logarithms; few decades go to Plotly's own choice.
function ticking(range, across) {
  const ticks = logTicks(10 ** range[0], 10 ** range[1], across);
  if (!ticks) return { tickmode: "auto", tickvals: null, ticktext: null };
  return { tickmode: "array", tickvals: ticks, ticktext: ticks.map(tickText) };
}

function span(values, margin) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value > 0 && value < low) low = value;
    if (value > high) high = value;
  }
  if (!(low <= high)) return [-1, 0];
  return [Math.log10(low / margin), Math.log10(high * margin)];
}

function logAxis(title, values, more = {}, across = false) {
  const range = span(values, 1.12);
  return { type: "log", range, title: { text: typeset(title), standoff: 8 }, ...LINES,
    ...ticking(range, across), ...more };
}

const acrossAxis = (title, values, more) => logAxis(title, values, more, true);

function linearAxis(title, more = {}) {
  return { type: "linear", title: { text: typeset(title), standoff: 8 }, ...LINES, ...more };
}

const LINES = { gridcolor: "#e3e3e3", linecolor: GREY, zeroline: false, showline: true, mirror: true,
  automargin: true, exponentformat: "power", ticks: "outside", tickcolor: GREY,
  tickangle: 0 };

const dashed = (more) => ({ mode: "lines", line: { color: INK, dash: "dash", width: 1.5 },
  hoverinfo: "skip", ...more });

// A line of the legend that stands for shapes, or for many traces.
const entry = (name, line) => ({ x: [null], y: [null], mode: "lines", name: typeset(name), line,
  hoverinfo: "skip" });

// The frame of panels above others, whose own horizontal axis is that of the lowest one.
const frames = (...panels) => panels.map((panel) => ({ type: "rect", xref: "x domain",
  yref: `${panel} domain`, x0: 0, x1: 1, y0: 0, y1: 1, line: { color: GREY, width: 1 } }));
