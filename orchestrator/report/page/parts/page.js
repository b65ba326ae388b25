// The page: filters, figures drawn when they come near the screen, zoom by button and by hand.

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const coarse = matchMedia("(pointer: coarse)").matches;
const figures = Object.keys(FIGURES).map((name) => ({
  name,
  node: document.getElementById(name),
  stale: true,
  near: false,
  dragging: !coarse, // a thumb scrolls the page until its owner asks to zoom
  column: null,
}));
const form = document.getElementById("filters");
const isAxis = (name) => /^[xy]axis\d*$/.test(name);
let some = [];
let groups = [];
let labels = 0; // choices, each with a name of its own for its label

function labelled(text, options, value, onChange) {
  const box = element("div");
  const select = element("select", "", { id: `choice-${labels += 1}` });
  const label = element("label", text, { htmlFor: select.id });
  options.forEach(([key, name]) => select.append(element("option", name, { value: key })));
  select.value = value;
  select.addEventListener("change", () => onChange(select.value));
  box.append(label, select);
  return box;
}

function makeFilters() {
  const box = document.getElementById("selects");
  box.replaceChildren();
  axes.forEach((axis, number) => {
    const options = axis.values.map((value, n) => [String(n), value]);
    box.append(labelled(axis.name, [["-1", "all"], ...options], String(chosen.at[number]), (value) => {
      chosen.at[number] = Number(value);
      changed();
    }));
  });
  if (thresholds.length > 1) {
    const options = thresholds.map((value, n) => [String(n), value]);
    box.append(labelled("loss threshold ε", [["-1", "all"], ...options], String(chosen.epsilon),
      (value) => {
        chosen.epsilon = Number(value);
        changed();
      }));
  }
  const colors = [["epsilon", "loss threshold ε"], ...axes.map((axis) => [axis.field, axis.name])];
  if (colors.length > 1) {
    box.append(labelled("colour by", colors, chosen.color, (value) => {
      chosen.color = value;
      changed();
    }));
  }
  // In words, for an option has no subscripts: η/η_c is relative, η absolute.
  box.append(labelled("learning rates", [["eta_c", "relative"], ["eta", "absolute"]], chosen.units,
    (value) => {
      chosen.units = value;
      changed();
    }));
}

function changed() {
  writeFragment();
  show();
}

function show() {
  some = chosenPlaces();
  groups = groupsOf(some);
  const left = chosenColumns().length;
  document.getElementById("shown").textContent =
    `shown: ${left} of ${columns.length} column${columns.length === 1 ? "" : "s"}`;
  for (const figure of figures) figure.stale = true;
  figures.filter((figure) => figure.near).forEach(draw);
}

function draw(figure) {
  if (!figure.stale) return;
  figure.stale = false;
  const { node } = figure;
  if (figure.name === "time") chooseColumn(figure);
  const made = FIGURES[figure.name](some, groups, figure.column);
  const plot = node.querySelector(".plot");
  const empty = node.querySelector(".empty");
  const title = node.querySelector("h3").textContent;
  const nothing = made.points === 0;
  plot.hidden = nothing;
  empty.hidden = !nothing;
  empty.textContent = nothing ? "What is chosen has no numbers for this figure." : "";
  node.querySelector(".tools").hidden = nothing;
  const faint = made.curves && some.length > MANY
    ? " With this many curves, the thick lines are medians in short stretches." : "";
  node.querySelector(".said").textContent = nothing ? "" : made.said + faint;
  figure.table = made.table;
  const details = node.querySelector(".numbers");
  if (details.open) fillTable(details, figure.table, title);
  if (nothing) return;
  plot.setAttribute("aria-label", alternative(title, made));
  const names = new Set(made.traces.map((trace) => trace.name));
  const layout = {
    font: { family: "system-ui, sans-serif", size: 13, color: INK },
    margin: { l: 56, r: 12, t: 12, b: 48 },
    height: HEIGHTS[figure.name],
    hovermode: "closest",
    hoverlabel: { align: "left", font: { size: 13 }, bgcolor: "#fff", namelength: 0 },
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    showlegend: names.size > 1 && names.size <= 24,
    legend: { orientation: "h", x: 0, y: -80 / HEIGHTS[figure.name], yanchor: "top", font: { size: 12 } },
    dragmode: figure.dragging ? "zoom" : false,
    ...made.layout,
  };
  for (const name of Object.keys(layout).filter(isAxis)) layout[name].fixedrange ??= !figure.dragging;
  Plotly.react(plot, made.traces, layout, CONFIG);
  if (!figure.listening) {
    figure.listening = true;
    plot.on("plotly_relayout", (change) => retick(plot, change));
  }
}

function alternative(title, made) {
  return `${title}: ${made.points.toLocaleString("en")} points of ${some.length} curves. `
    + `${made.said} The numbers are in the table below the figure.`;
}

// After a zoom, labels where the axis is now.
function retick(plot, change) {
  const moved = new Set(Object.keys(change).map((key) => key.match(/^([xy]axis\d*)\.(range|autorange)/))
    .filter(Boolean).map((match) => match[1]));
  const update = {};
  for (const name of moved) {
    const axis = plot.layout[name];
    if (axis.type !== "log" || !axis.visible && axis.visible !== undefined) continue;
    for (const [key, value] of Object.entries(ticking(axis.range, name[0] === "x"))) update[`${name}.${key}`] = value;
  }
  if (Object.keys(update).length) Plotly.relayout(plot, update);
}

function zoom(figure, factor) {
  const plot = figure.node.querySelector(".plot");
  const update = {};
  for (const [name, axis] of Object.entries(plot.layout)) {
    if (!isAxis(name) || axis.visible === false || !axis.range) continue;
    const [low, high] = axis.range;
    const middle = (low + high) / 2;
    update[`${name}.range`] = [middle - (high - low) / 2 * factor, middle + (high - low) / 2 * factor];
  }
  Plotly.relayout(plot, update);
}

function makeTools(figure) {
  const tools = figure.node.querySelector(".tools");
  const button = (text, name, act) => {
    const made = element("button", text, { type: "button" });
    if (name) made.setAttribute("aria-label", name);
    made.addEventListener("click", () => act(made));
    tools.append(made);
    return made;
  };
  button("+", "Zoom in", () => zoom(figure, 0.6));
  button("−", "Zoom out", () => zoom(figure, 1 / 0.6));
  button("Whole", "", () => {
    figure.stale = true;
    draw(figure);
  });
  const drag = button("Zoom by dragging", "", (made) => {
    figure.dragging = !figure.dragging;
    made.setAttribute("aria-pressed", String(figure.dragging));
    const plot = figure.node.querySelector(".plot");
    const update = { dragmode: figure.dragging ? "zoom" : false };
    for (const name of Object.keys(plot.layout).filter(isAxis)) {
      if (plot.layout[name].visible !== false) update[`${name}.fixedrange`] = !figure.dragging;
    }
    Plotly.relayout(plot, update);
  });
  drag.setAttribute("aria-pressed", String(figure.dragging));
}

// The column whose trials in time are drawn: one of those that are shown.
function chooseColumn(figure) {
  const having = new Set(data.paths.trials.map((path) => path.column));
  const choice = chosenColumns().filter((column) => having.has(column));
  if (!choice.includes(figure.column)) figure.column = choice[0] ?? null;
  const words = (column) => axes.map((axis, n) => `${axis.name} ${axis.values[columns[column].at[n]]}`)
    .join(", ") || columns[column].title;
  const box = figure.node.querySelector(".own");
  box.replaceChildren();
  if (choice.length < 2) return;
  box.append(labelled("column", choice.map((column) => [String(column), words(column)]),
    String(figure.column), (value) => {
      figure.column = Number(value);
      figure.stale = true;
      draw(figure);
    }));
}

// Figures that no choice can fill stay away, and are named.
function hasData(name) {
  const any = (list, test = (value) => value !== null) => (list || []).some(test);
  const rest = (_, crossing) => included(crossing);
  if (name === "time") return any(data.paths.trials, (path) => path.eta !== null);
  if (name === "agreement") return any(places.eta_c_fitted, (value, n) => value && places.eta_c[n]);
  if (name === "loss") return any(crossings.test_loss, (value, n) => value !== null && rest(0, n));
  if (name === "trade") return any(crossings.l1_norm, (value, n) => value !== null && rest(0, n));
  if (name === "widths" && !panels) return false;
  return any(crossings.eta, rest);
}

// An open box of filters would cover the page: once the page has scrolled on under it, it closes,
// and what is in view stays where it is.
function closeWhenLeft(box) {
  const place = element("div"); // where the box is unless it sticks to the window
  form.before(place);
  let opened = scrollY;
  const settle = () => {
    opened = NaN; // the browser scrolls by itself to make room for the box
    requestAnimationFrame(() => requestAnimationFrame(() => (opened = scrollY)));
  };
  box.querySelector("summary").addEventListener("click", settle); // before the browser scrolls
  box.addEventListener("toggle", settle);
  addEventListener("scroll", () => {
    const before = form.getBoundingClientRect();
    const under = Math.min(before.top - place.getBoundingClientRect().top, Math.abs(scrollY - opened));
    if (!box.open || !(under >= LEFT)) return;
    box.open = false;
    scrollBy(0, form.getBoundingClientRect().height - before.height);
  }, { passive: true });
}

const LEFT = 60; // pixels

function start() {
  if (!columns.length) return;
  readFragment();
  makeFilters();
  form.hidden = false;
  const choices = document.getElementById("choices");
  choices.open = !coarse && innerWidth > 700;
  closeWhenLeft(choices);
  document.getElementById("all").addEventListener("click", () => {
    Object.assign(chosen, beginning());
    makeFilters();
    changed();
  });
  addEventListener("hashchange", () => {
    readFragment();
    makeFilters();
    show();
  });
  const there = figures.filter((figure) => hasData(figure.name));
  const without = figures.filter((figure) => !there.includes(figure) && figure.name !== "widths");
  if (without.length) {
    document.getElementById("left-out").textContent = "No numbers in these tables for: "
      + `${without.map((figure) => figure.node.querySelector("h3").textContent).join("; ")}.`;
  }
  const watch = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      const figure = there.find((one) => one.node === target);
      figure.near = isIntersecting;
      if (isIntersecting) draw(figure);
    }
  }, { rootMargin: "400px" });
  for (const figure of there) {
    figure.node.hidden = false;
    figure.node.querySelector(".plot").style.height = `${HEIGHTS[figure.name]}px`;
    makeTools(figure);
    const details = figure.node.querySelector(".numbers");
    details.addEventListener("toggle", () => {
      if (!details.open) return;
      draw(figure);
      fillTable(details, figure.table, figure.node.querySelector("h3").textContent);
    });
  }
  show();
  there.forEach((figure) => watch.observe(figure.node));
  addEventListener("beforeprint", () => there.forEach(draw));
}

start();
