// What is chosen, which columns and places that leaves, and the fragment of the address that says so.

const data = JSON.parse(document.getElementById("data").textContent);
const { axes, columns, markers, places, crossings } = data;
const thresholds = data.epsilons.values;
const ANY = "all";
const FEW = 6; // curves that have levels, lines of η_c and names of their own
const MANY = 60; // curves from which on they are thin, faint and without points

// What became of a trial is the number of its marker: those that count, those that reached ε without
// counting, and those that did not reach it.
const drawnAs = (...kinds) => (crossing) =>
  kinds.includes(markers[crossings.marker[crossing]].drawn);
const included = drawnAs("joined");
const excluded = drawnAs("hollow");
const central = drawnAs("line");

const count = (list) => (list ? list.length : 0);
const placesOf = columns.map(() => []);
for (let place = 0; place < count(places.column); place++) {
  placesOf[places.column[place]].push(place);
}
const crossingsOf = Array.from({ length: count(places.column) }, () => []);
crossings.place.forEach((place, crossing) => crossingsOf[place].push(crossing));

// The threshold that most columns reached with some trial, of equal ones the smallest.
function defaultThreshold() {
  const reached = thresholds.map(() => 0);
  crossingsOf.forEach((its, place) => {
    if (its.some(included)) reached[places.epsilon[place]] += 1;
  });
  return reached.indexOf(Math.max(...reached));
}

function beginning() {
  const one = columns.length === 1;
  const first = axes.find((axis) => axis.field === "width") || axes[0];
  return {
    at: axes.map(() => -1),
    epsilon: one ? -1 : defaultThreshold(),
    color: one || !first ? "epsilon" : first.field,
    units: one || !places.eta_c.some((rate) => rate !== null) ? "eta" : "eta_c",
  };
}

const chosen = beginning();

function readFragment() {
  Object.assign(chosen, beginning());
  const said = new URLSearchParams(location.hash.slice(1));
  axes.forEach((axis, number) => {
    chosen.at[number] = axis.values.indexOf(said.get(axis.field));
  });
  const epsilon = said.get("epsilon");
  if (epsilon === ANY) chosen.epsilon = -1;
  else if (thresholds.includes(epsilon)) chosen.epsilon = thresholds.indexOf(epsilon);
  const colors = ["epsilon", ...axes.map((axis) => axis.field)];
  if (colors.includes(said.get("color"))) chosen.color = said.get("color");
  if (["eta", "eta_c"].includes(said.get("units"))) chosen.units = said.get("units");
}

// Only what differs from the beginning is said, so that the address of the page stays short.
function writeFragment() {
  const defaults = beginning();
  const said = new URLSearchParams();
  axes.forEach((axis, number) => {
    if (chosen.at[number] >= 0) said.set(axis.field, axis.values[chosen.at[number]]);
  });
  if (chosen.epsilon !== defaults.epsilon) {
    said.set("epsilon", chosen.epsilon < 0 ? ANY : thresholds[chosen.epsilon]);
  }
  for (const name of ["color", "units"]) {
    if (chosen[name] !== defaults[name]) said.set(name, chosen[name]);
  }
  history.replaceState(null, "", said.size ? `#${said}` : location.pathname + location.search);
}

const isAt = (column, axis, value) => columns[column].at[axis] === value;

// Whether a column stands at a value of an axis, be it under another name: at the base width, the
// standard parameterization is each of the others.
const standsAt = (column, axis, value) => isAt(column, axis, value)
  || (axes[axis].field === "parameterization" && columns[column].also.includes(value));

function chosenColumns(test = isAt) {
  const numbers = columns.map((_, number) => number);
  return numbers.filter((number) =>
    chosen.at.every((value, axis) => value < 0 || test(number, axis, value)));
}

function chosenPlaces(test = isAt) {
  return chosenColumns(test).flatMap((column) => placesOf[column]).filter(
    (place) => chosen.epsilon < 0 || places.epsilon[place] === chosen.epsilon);
}

// Places by the value that colours them: {name, color, symbol, places}, in the order of the values.
function groupsOf(some) {
  const byThreshold = chosen.color === "epsilon";
  const number = axes.findIndex((axis) => axis.field === chosen.color);
  const axis = byThreshold ? data.epsilons : axes[number];
  const found = new Map();
  for (const place of some) {
    const value = byThreshold ? places.epsilon[place] : columns[places.column[place]].at[number];
    if (!found.has(value)) found.set(value, []);
    found.get(value).push(place);
  }
  const label = byThreshold ? "ε" : axis.name;
  return [...found.keys()].sort((one, other) => one - other).map((value) => ({
    name: `${label} = ${axis.values[value]}`,
    color: axis.colors[value],
    symbol: SYMBOLS[value % SYMBOLS.length],
    places: found.get(value),
  }));
}

// A place in words: what tells it from the others.
function nameOf(place) {
  const column = columns[places.column[place]];
  const said = axes.map((axis, number) => `${axis.name} ${axis.values[column.at[number]]}`);
  return [...said, `ε ${thresholds[places.epsilon[place]]}`].join(", ");
}
