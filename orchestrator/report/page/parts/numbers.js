// The numbers of a figure as a table, made when someone opens it.

const MOST_LINES = 200;

// An element with a text, in which η_c and s_gf have their subscripts.
function element(tag, text = "", more = {}) {
  const made = Object.assign(document.createElement(tag), more);
  for (const piece of String(text).split(/(η_c|s_gf)/)) {
    const [letter, index] = /^(η_c|s_gf)$/.test(piece) ? piece.split("_") : [piece];
    if (letter) made.append(letter);
    if (index) made.append(element("sub", index));
  }
  return made;
}

function fillTable(details, table, title) {
  details.querySelectorAll(":scope > :not(summary)").forEach((old) => old.remove());
  const { names, lines } = table();
  const head = element("tr");
  names.forEach((name) => head.append(element("th", name, { scope: "col" })));
  const body = element("tbody");
  for (const line of lines.slice(0, MOST_LINES)) {
    const row = element("tr");
    line().forEach((cell) => row.append(element("td", cell, { className: "n" })));
    body.append(row);
  }
  const whole = element("table");
  const top = element("thead");
  top.append(head);
  whole.append(top, body);
  const scroll = element("div", "", { className: "scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Numbers: ${title}`);
  scroll.append(whole);
  if (lines.length > MOST_LINES) {
    details.append(element("p", `The first ${MOST_LINES} of ${lines.length.toLocaleString("en")} `
      + "lines; choose fewer columns, or ask the tables with eos query.", { className: "note" }));
  }
  details.append(scroll);
}
