// Makes elements; text is always text, so nothing that a client chose can become markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") Object.assign(node.style, value); // the CSP bars style attributes
    else node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== "") node.append(child);
  }
  return node;
}

function h(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function s(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function show(id, ...children) {
  document.getElementById(id).replaceChildren(...children.flat(Infinity).filter((c) => c !== null));
}

/** Columns are [title, cell, class]; a cell makes children of a row's object. */
function table(id, columns, rows, empty) {
  const head = h("tr", {}, columns.map(([title, , kind]) => h("th", { class: kind, scope: "col" }, title)));
  const body = rows.map((row) =>
    h("tr", {}, columns.map(([, cell, kind]) => h("td", { class: kind }, cell(row)))));
  if (!rows.length) body.push(h("tr", {}, h("td", { class: "soft", colspan: columns.length }, empty)));
  show(id, h("thead", {}, head), h("tbody", {}, body));
}

function pill(kind, text) {
  return h("span", { class: `pill ${kind}` }, text || kind);
}

/** Parts are [class, amount, title]; the bar is as long as `whole`. */
function bar(parts, whole, track) {
  const width = (amount) => `${(100 * amount) / Math.max(whole, 1)}%`;
  return h("div", { class: track ? "bar track" : "bar" }, parts
    .filter(([, amount]) => amount > 0)
    .map(([kind, amount, title]) => h("i", { class: kind, title, style: { width: width(amount) } })));
}
