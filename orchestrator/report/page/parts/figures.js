// The figures: each a function from the chosen places to what Plotly draws and what a table says.

// The trials of a group of places that are kept: one trace with gaps between places, so that a
// thousand curves cost no more than their points.
function traceOf(group, kept, x, y) {
  const trace = { x: [], y: [], text: [] };
  for (const place of group.places) {
    for (const crossing of crossingsOf[place].filter(kept)) {
      const [across, up] = [x(crossing, place), y(crossing, place)];
      if (across === null || up === null) continue;
      trace.x.push(across);
      trace.y.push(up);
      trace.text.push(wordsOf(crossing, place));
    }
    if (trace.x.length && trace.x.at(-1) !== null) {
      for (const list of Object.values(trace)) list.push(null);
    }
  }
  return trace;
}

// A line for each place through the trials that count, and those that do not as hollow points beside
// it. Many lines are faint, with their medians above them.
function curvesOf(groups, x, y, where = {}) {
  const many = groups.reduce((sum, group) => sum + group.places.length, 0) > MANY;
  const curves = groups.map((group) => {
    const trace = traceOf(group, included, x, y);
    return {
      ...trace,
      name: plain(group.name),
      legendgroup: plain(group.name),
      mode: many ? "lines" : "lines+markers",
      opacity: many ? 0.15 : 1,
      line: { color: group.color, width: many ? 0.8 : 1.2 },
      marker: { color: group.color, symbol: group.symbol, size: 6 },
      hoverinfo: "text",
      ...where,
      ...(many && { showlegend: false }),
    };
  });
  const beside = groups.map((group) => ({
    ...traceOf(group, excluded, x, y),
    ...hollow(group.color, group.symbol),
    opacity: many ? 0.3 : 1,
    name: plain(group.name),
    legendgroup: plain(group.name),
    ...where,
    showlegend: false,
  })).filter((trace) => trace.x.length);
  const average = groups.map((group) => ({
    ...traceOf(group, central, x, y),
    name: plain(group.name),
    legendgroup: plain(group.name),
    mode: "lines",
    opacity: many ? 0.15 : 1,
    line: { color: group.color, width: many ? 0.8 : 1.8, dash: "dash" },
    hoverinfo: "text",
    meta: "central",
    ...where,
    showlegend: false,
  })).filter((trace) => trace.x.length);
  if (!many) return [...curves, ...beside, ...average];
  return [...curves, ...beside, ...average, ...curves.map((curve, n) => medians(curve, groups[n], where))];
}

const hollow = (color, symbol) => ({ mode: "markers", hoverinfo: "text", meta: "excluded",
  marker: { color, symbol: `${symbol}-open`, size: 8, line: { width: 1.6 } } });

// Legend entries of what is drawn besides the lines of the groups.
function entries(some, { flow = false, critical = false } = {}) {
  const found = new Set(some.flatMap((place) => crossingsOf[place]).filter(excluded)
    .map((crossing) => crossings.marker[crossing]));
  const reasons = markers.filter((_, marker) => found.has(marker)).map((one) => one.label);
  const few = some.length <= FEW;
  return [
    ...(some.length > MANY ? [entry("one curve", { color: GREY, width: 0.8 }),
      entry("median", { color: GREY, width: 3 })] : []),
    ...(critical && (relative() || few) ? [entry("η_c", CRITICAL)] : []),
    ...(flow && few ? [entry("gradient flow", { ...LEVEL, color: GREY })] : []),
    ...(some.some((place) => crossingsOf[place].some(central))
      ? [entry("central flow", { color: GREY, width: 1.8, dash: "dash" })] : []),
    ...(reasons.length ? [{ x: [null], y: [null], ...hollow(GREY, "circle"),
      name: `excluded (${reasons.join(", ")})` }] : []),
  ];
}

const CRITICAL = { color: INK, width: 1.5, dash: "dashdot" };
const LEVEL = { width: 1.3, dash: "dot" };

// The median of many curves in stretches of a logarithmic axis, as a thick line.
function medians(curve, group, where) {
  const bins = new Map();
  curve.x.forEach((x, n) => {
    if (x === null || x <= 0) return;
    const bin = Math.round(Math.log10(x) * STRETCHES);
    if (!bins.has(bin)) bins.set(bin, []);
    bins.get(bin).push(n);
  });
  const middle = (list) => list.sort((one, other) => one - other)[list.length >> 1];
  const known = [...bins.keys()].sort((one, other) => one - other).map((bin) => bins.get(bin));
  return {
    x: known.map((its) => middle(its.map((n) => curve.x[n]))),
    y: known.map((its) => middle(its.map((n) => curve.y[n]))),
    text: known.map((its) => `${curve.name}: median of ${its.length} trials`),
    name: curve.name, legendgroup: curve.name, mode: "lines+markers", hoverinfo: "text",
    meta: "median", line: { color: group.color, width: 3 },
    marker: { color: group.color, symbol: group.symbol, size: 8, line: { color: "#fff", width: 1 } },
    ...where,
  };
}

const STRETCHES = 16; // in a decade

function wordsOf(crossing, place) {
  const ratio = places.eta_c[place]
    ? typeset(` = ${number(crossings.eta[crossing] / places.eta_c[place])} η_c`) : "";
  return plain(nameOf(place)) + `<br>η ${number(crossings.eta[crossing])}${ratio}`
    + `<br>S ${number(crossings.sharpness[crossing])}, S·η/2 ${halfEdge(crossing)}`
    + `<br>‖θ‖₁ ${number(crossings.l1_norm[crossing])}`
    + `, test loss ${number(crossings.test_loss[crossing])}`
    + `<br>${number(crossings.steps[crossing])} steps`
    + (included(crossing) ? "" : `<br>${outcome(crossing)}`);
}

// In words what became of a trial.
function outcome(crossing) {
  const { drawn, label } = markers[crossings.marker[crossing]];
  return { joined: "counts", line: label, hollow: `excluded: ${label}` }[drawn] ?? label;
}

const halfEdge = (crossing) => number(crossings.sharpness[crossing] === null ? null
  : crossings.sharpness[crossing] * crossings.eta[crossing] / 2);
const relative = () => chosen.units === "eta_c";
const over = (value, unit) => (value === null || !unit ? null : value / unit);

const rate = (crossing, place) => (relative() ? over(crossings.eta[crossing], places.eta_c[place])
  : crossings.eta[crossing]);
const sharpness = (crossing, place) => (relative()
  ? over(crossings.sharpness[crossing], places.eta_c[place] && 2 / places.eta_c[place])
  : crossings.sharpness[crossing]);
const norm = (crossing, place) => (relative()
  ? over(crossings.l1_norm[crossing], places.l1_norm[place])
  : crossings.l1_norm[crossing]);
const eta = (crossing) => crossings.eta[crossing];
const testLoss = (crossing) => crossings.test_loss[crossing];
const rateTitle = () => (relative() ? "η / η_c" : "learning rate η");
const sharpnessTitle = () => (relative() ? "S / s_gf" : "sharpness S");
const normTitle = () => (relative() ? "‖θ‖₁ / that of the flow" : "norm ‖θ‖₁");

const known = (traces, name) => traces.flatMap((trace) => trace[name].filter((v) => v !== null));

const pointsOf = (traces) =>
  known(traces.filter((trace) => !["median", "lost", "central"].includes(trace.meta)), "y").length;

// Vertical lines at η_c in some panels: one in its units, else one for each of a few places. Above
// all else, for a line of the grid would hide them.
function critical(groups, some, panels) {
  const lines = (x, color) => panels.map((panel) => ({ type: "line", xref: "x",
    yref: `${panel} domain`, x0: x, x1: x, y0: 0, y1: 1, layer: "above",
    line: { ...CRITICAL, color } }));
  if (relative()) return lines(1, INK);
  if (some.length > FEW) return [];
  return groups.flatMap((group) => group.places.filter((place) => places.eta_c[place])
    .flatMap((place) => lines(places.eta_c[place], group.color)));
}

// Levels of the flow, for a few places.
function levels(groups, some, measure, yaxis) {
  const level = (y, color) => ({ type: "line", xref: "x domain", yref: yaxis, x0: 0, x1: 1, y0: y,
    y1: y, layer: "above", line: { ...LEVEL, color } });
  if (some.length > FEW) return [];
  return groups.flatMap((group) => group.places.filter((place) => places[measure][place] !== null)
    .map((place) => level(places[measure][place], group.color)));
}

// Trials that did not reach ε, as crosses and strokes along the upper frame of a panel.
function lost(some, yaxis, across = rate) {
  return markers.map(({ drawn, label, symbol }, marker) => {
    const trace = { x: [], y: [], text: [] };
    for (const place of symbol ? some : []) {
      for (const crossing of crossingsOf[place]) {
        const at = crossings.marker[crossing] === marker ? across(crossing, place) : null;
        if (at === null) continue;
        trace.x.push(at);
        trace.y.push(drawn === "above" ? 0.97 : 0.93);
        trace.text.push(wordsOf(crossing, place));
      }
    }
    return { ...trace, name: label, mode: "markers", yaxis, hoverinfo: "text", meta: "lost",
      legendgroup: label,
      marker: { symbol, size: 8, color: GREY, line: { width: 1.5, color: GREY },
        opacity: some.length > MANY ? 0.3 : 1 } };
  }).filter((one) => one.x.length);
}

// The axis of such markers over another one, and the room that they need at its end.
const overlay = (over) => ({ overlaying: over, range: [0, 1], visible: false, fixedrange: true });
const ROOM = 1.35;

function saidOf(traces) {
  return traces.length ? `${traces.map((one) => `${one.x.length} ${one.name}`).join(", ")}: `
    + "markers along the upper frame." : "";
}

function crossingTable(some) {
  const names = [...axes.map((axis) => axis.name), "ε", "η", "η/η_c", "S", "S·η/2", "‖θ‖₁",
    "test loss", "steps", "outcome"];
  const lines = some.flatMap((place) => crossingsOf[place].map((crossing) => () => [
    ...columns[places.column[place]].at.map((at, axis) => axes[axis].values[at]),
    thresholds[places.epsilon[place]], number(crossings.eta[crossing]),
    number(over(crossings.eta[crossing], places.eta_c[place])),
    number(crossings.sharpness[crossing]), halfEdge(crossing), number(crossings.l1_norm[crossing]),
    number(crossings.test_loss[crossing]), number(crossings.steps[crossing]),
    outcome(crossing)]));
  return { names, lines };
}

function transition(some, groups) {
  const upper = curvesOf(groups, rate, sharpness);
  const lower = curvesOf(groups, rate, norm, { yaxis: "y2", showlegend: false });
  const without = lost(some, "y3");
  const rates = known([...upper, ...without], "x");
  const range = span(rates, 1.12);
  const edge = Array.from({ length: 80 }, (_, n) => 10 ** (range[0] + (range[1] - range[0]) * n / 79));
  const edges = dashed({ x: edge, y: edge.map((x) => (relative() ? 1 : 2) / x),
    name: "edge of stability 2/η" });
  const level = relative() ? [] : [...levels(groups, some, "sharpness", "y"),
    ...levels(groups, some, "l1_norm", "y2")];
  const y = span(known(upper, "y"), 1.2);
  return {
    points: pointsOf(upper),
    traces: [...upper, ...lower, edges, ...entries(some, { critical: true, flow: !relative() }),
      ...without],
    layout: {
      xaxis: acrossAxis(rateTitle(), rates, { anchor: "y2" }),
      yaxis: logAxis(sharpnessTitle(), [10 ** y[0], 10 ** y[1] * (without.length ? ROOM : 1)],
        { domain: [0.46, 1] }),
      yaxis2: linearAxis(normTitle(), { domain: [0, 0.38] }),
      yaxis3: overlay("y"),
      shapes: [...frames("y"), ...critical(groups, some, ["y", "y2"]), ...level],
    },
    said: saidOf(without),
    curves: true,
    table: () => crossingTable(some),
  };
}

function loss(some, groups) {
  const traces = curvesOf(groups, rate, testLoss);
  const without = lost(some, "y2");
  const values = known(traces, "y");
  const few = values.slice(0, 50000);
  const [low, high] = [Math.min(...few), Math.max(...few)];
  const wide = values.length && low > 0 && high > 10 * low;
  const room = without.length ? { range: [low - (high - low) / 12, high + (high - low) / 5] } : {};
  return {
    points: pointsOf(traces),
    traces: [...traces, ...entries(some, { critical: true, flow: true }), ...without],
    layout: {
      xaxis: acrossAxis(rateTitle(), known([...traces, ...without], "x")),
      yaxis: wide ? logAxis("test loss", [...values, high * (without.length ? ROOM : 1)])
        : linearAxis("test loss", room),
      yaxis2: overlay("y"),
      shapes: [...critical(groups, some, ["y"]), ...levels(groups, some, "test_loss", "y")],
    },
    said: saidOf(without),
    curves: true,
    table: () => crossingTable(some),
  };
}

const PHASE = ["eta_c", "eta_c_fitted", "eta_c_fitted_low", "eta_c_fitted_high", "transition",
  "edge_ratio", "edge_exponent", "eta_best_over_eta_c", "u_shaped", "u_depth", "u_spread",
  "undecided"];

function agreement(some, groups) {
  const traces = groups.map((group) => {
    const its = group.places.filter((place) => places.eta_c[place] && places.eta_c_fitted[place]);
    const up = its.map((place) => (places.eta_c_fitted_high[place] ?? places.eta_c_fitted[place])
      - places.eta_c_fitted[place]);
    const down = its.map((place) => places.eta_c_fitted[place]
      - (places.eta_c_fitted_low[place] ?? places.eta_c_fitted[place]));
    return {
      x: its.map((place) => places.eta_c[place]),
      y: its.map((place) => places.eta_c_fitted[place]),
      text: its.map((place) => `${plain(nameOf(place))}<br>predicted ${number(places.eta_c[place])}`
        + `<br>fitted ${number(places.eta_c_fitted[place])}, ratio `
        + number(places.eta_c_fitted[place] / places.eta_c[place])),
      error_y: { type: "data", symmetric: false, array: up, arrayminus: down, thickness: 0.8,
        width: 0, visible: some.length <= 5 * MANY },
      name: plain(group.name), mode: "markers", hoverinfo: "text",
      marker: { color: group.color, symbol: group.symbol, size: some.length > 5 * MANY ? 4 : 7,
        opacity: some.length > 5 * MANY ? 0.5 : 1 },
    };
  });
  const all = [...known(traces, "x"), ...known(traces, "y")];
  const ends = span(all, 1.1).map((end) => 10 ** end);
  const ratios = some.filter((place) => places.eta_c[place] && places.eta_c_fitted[place])
    .map((place) => places.eta_c_fitted[place] / places.eta_c[place]).sort((one, other) => one - other);
  const middle = (ratios[(ratios.length - 1) >> 1] + ratios[ratios.length >> 1]) / 2;
  return {
    points: ratios.length,
    traces: [...traces, dashed({ x: ends, y: ends, name: "equal" })],
    layout: { xaxis: acrossAxis("η_c predicted, 2/s_gf", all), yaxis: logAxis("η_c fitted", all) },
    said: `Fitted over predicted: median ${number(middle)} of ${ratios.length}, from `
      + `${number(ratios[0])} to ${number(ratios.at(-1))}.`,
    table: () => ({
      names: [...axes.map((axis) => axis.name), "ε", "η_c predicted", "fitted", "low", "high",
        "transition", "S·η/2 above", "slope above", "best η/η_c", "U-shaped", "depth", "spread",
        "undecided"],
      lines: some.map((place) => () => [
        ...columns[places.column[place]].at.map((at, axis) => axes[axis].values[at]),
        thresholds[places.epsilon[place]],
        ...PHASE.map((name) => number(places[name][place]))]),
    }),
  };
}

function trade(some, groups) {
  const traces = curvesOf(groups, sharpness, norm);
  const without = lost(some, "y").map((one) => `${one.x.length} ${one.name}`);
  const flows = some.length > FEW || relative() ? [] : groups.map((group) => ({
    x: group.places.map((place) => places.sharpness[place]),
    y: group.places.map((place) => places.l1_norm[place]),
    name: "gradient flow", showlegend: group === groups[0], mode: "markers", hoverinfo: "text",
    text: group.places.map((place) => `gradient flow<br>${plain(nameOf(place))}`),
    marker: { symbol: "diamond-open", size: 13, color: group.color, line: { width: 2 } },
  }));
  return {
    points: pointsOf(traces),
    traces: [...traces, ...flows, ...entries(some)],
    layout: { xaxis: acrossAxis(sharpnessTitle(), known(traces, "x")), yaxis: linearAxis(normTitle()) },
    said: without.length ? `Without a point: ${without.join(", ")}.` : "",
    curves: true,
    table: () => crossingTable(some),
  };
}

// Paths of one column; `wanted` is its number.
function time(some, _, wanted) {
  const its = data.paths.trials.filter((path) => path.column === wanted);
  const descents = its.filter((path) => path.eta !== null);
  const shade = (n) => VIRIDIS[Math.round(n / Math.max(1, descents.length - 1) * (VIRIDIS.length - 1))];
  const traces = its.flatMap((path) => {
    const flow = path.eta === null;
    const line = { color: flow ? INK : shade(descents.indexOf(path)), width: flow ? 1.6 : 1.2,
      dash: flow ? "dot" : "solid" };
    const name = flow ? "gradient flow" : typeset(`${number(path.ratio)} η_c`);
    const text = path.time.map((t, n) => `${name}, time ${number(t)}<br>S ${number(path.sharpness[n])}`
      + `, training loss ${number(path.train_loss[n])}`);
    const shared = { x: path.time, mode: path.time.length > FEW_POINTS ? "lines" : "lines+markers", line,
      marker: { color: line.color, size: 4 }, name, legendgroup: name, text,
      hoverinfo: "text" };
    const losses = { ...shared, y: path.train_loss, yaxis: "y2", showlegend: flow };
    if (flow) return [losses];
    const edge = { ...shared, y: path.sharpness.map((s) => s * path.eta / 2) };
    if (markers[path.marker].drawn !== "hollow") return [edge, losses];
    const ends = [edge, losses].map((whole) => ({ ...whole, ...hollow(line.color, "circle"),
      x: whole.x.slice(-1), y: whole.y.slice(-1), text: whole.text.slice(-1), showlegend: false }));
    return [edge, losses, ...ends];
  });
  const reasons = [...new Set(descents.map((path) => markers[path.marker])
    .filter((mark) => mark.drawn === "hollow").map((mark) => mark.label))];
  traces.push(entry("edge of stability, S·η/2 = 1", EDGE));
  if (reasons.length) {
    traces.push({ x: [null], y: [null], ...hollow(GREY, "circle"),
      name: `excluded (${reasons.join(", ")})` });
  }
  const losses = its.flatMap((path) => path.train_loss);
  return {
    points: descents.reduce((sum, path) => sum + path.time.length, 0),
    traces,
    layout: {
      xaxis: linearAxis("time η · step", { anchor: "y2", rangemode: "tozero" }),
      yaxis: linearAxis("S·η/2", { domain: [0.46, 1], rangemode: "tozero" }),
      yaxis2: logAxis("training loss", losses, { domain: [0, 0.38] }),
      shapes: [...frames("y"), { type: "line", xref: "x domain", yref: "y", x0: 0, x1: 1, y0: 1,
        y1: 1, line: EDGE }],
    },
    said: `Of a trial at most ${data.paths.most} points are here: the lowest and the highest sharpness `
      + "of every short stretch.",
    table: () => ({
      names: ["trial", "time", "S", "S·η/2", "training loss"],
      lines: its.flatMap((path) => path.time.map((t, n) => () => [
        path.eta === null ? "flow" : `${number(path.ratio)} η_c`, number(t),
        number(path.sharpness[n]),
        path.eta === null ? "–" : number(path.sharpness[n] * path.eta / 2),
        number(path.train_loss[n])])),
    }),
  };
}

const EDGE = { color: INK, dash: "dash", width: 1.5 };
const FEW_POINTS = 60; // of a line that is drawn with its points
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779",
  "#6ece58", "#a5cc28"];

const [WIDTH, PARAMETERIZATION] = ["width", "parameterization"].map((field) =>
  axes.findIndex((axis) => axis.field === field));
const widthOf = (column) => (WIDTH < 0 ? 0 : columns[column].at[WIDTH]);

// The parameterizations under which some columns have more than one width.
function panelsOf(some) {
  const names = PARAMETERIZATION < 0 ? [0] : axes[PARAMETERIZATION].values.map((_, name) => name);
  return names.filter((name) => {
    const its = some.filter((column) => under(column, name)).map(widthOf);
    return new Set(its).size > 1;
  });
}

const under = (column, name) => PARAMETERIZATION < 0 || standsAt(column, PARAMETERIZATION, name);

// Panels by parameterization, colours by width.
function widths() {
  const some = chosenPlaces(standsAt);
  const names = panelsOf(some.map((place) => places.column[place])).filter((name) =>
    PARAMETERIZATION < 0 || [-1, name].includes(chosen.at[PARAMETERIZATION]));
  if (!names.length) return { points: 0, table: () => crossingTable(some) };
  const used = [...new Set(some.map((place) => widthOf(places.column[place])))]
    .sort((a, b) => a - b);
  const each = 1 / names.length;
  const layout = { annotations: [] };
  const named = new Set(); // widths and outcomes that have a place in the legend
  const first = (one) => ({ ...one,
    showlegend: one.showlegend !== false && !named.has(one.name) && Boolean(named.add(one.name)) });
  const traces = names.flatMap((name, row) => {
    const suffix = row ? String(row + 1) : "";
    const groups = used.map((value) => ({
      name: `width = ${axes[WIDTH].values[value]}`,
      color: axes[WIDTH].colors[value],
      symbol: SYMBOLS[value % SYMBOLS.length],
      places: some.filter((place) => widthOf(places.column[place]) === value
        && under(places.column[place], name)),
    })).filter((group) => group.places.length);
    const here = groups.flatMap((group) => group.places);
    const found = curvesOf(groups, eta, (crossing) => crossings.sharpness[crossing],
      { yaxis: `y${suffix}` }).map(first);
    const without = lost(here, `y${names.length + row + 1}`, eta).map(first);
    layout[`yaxis${names.length + row + 1}`] = overlay(`y${suffix}`);
    const top = 1 - row * each;
    const [low, high] = span(known(found, "y"), 1).map((end) => 10 ** end);
    layout[`yaxis${suffix}`] = logAxis("S", [low, high * (without.length ? ROOM : 1)],
      { domain: [top - each + (names.length > 1 ? 0.12 * each : 0), top - 0.08 * each] });
    if (PARAMETERIZATION >= 0) {
      layout.annotations.push({ text: plain(axes[PARAMETERIZATION].values[name]), x: 0, xref: "paper",
        xanchor: "left", y: top - 0.08 * each, yref: "paper", yanchor: "bottom", showarrow: false,
        font: { size: 14 } });
    }
    return [...found, ...without];
  });
  const points = pointsOf(traces);
  const rates = known(traces, "x");
  layout.shapes = frames(...names.slice(1).map((_, row) => `y${row ? row + 1 : ""}`));
  layout.xaxis = acrossAxis("learning rate η", rates,
    { anchor: names.length > 1 ? `y${names.length}` : "y" });
  const ends = span(rates, 1.12).map((end) => 10 ** end);
  const middle = Array.from({ length: 60 }, (_, n) => ends[0] * (ends[1] / ends[0]) ** (n / 59));
  names.forEach((_, row) => traces.push(dashed({ x: middle, y: middle.map((x) => 2 / x),
    yaxis: `y${row ? row + 1 : ""}`, name: "edge of stability 2/η", showlegend: row === 0 })));
  return {
    points,
    traces: [...traces, ...entries(some)],
    layout,
    said: saidOf(lost(some, "y", eta)),
    curves: true,
    table: () => crossingTable(some),
  };
}

// In pixels, and before a figure is drawn, so that nothing moves when it is.
const panels = panelsOf(columns.map((_, column) => column)).length;
const HEIGHTS = { transition: 620, loss: 400, time: 580, agreement: 440, trade: 420,
  widths: 150 + 230 * panels };

const FIGURES = { transition, loss, time, agreement, trade, widths };
