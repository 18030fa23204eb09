// Line and column charts over time, with the values under the pointer in the caption.

const WIDTH = 400;
const HEIGHT = 170;
const LEFT = 44;
const BOTTOM = 18;
const hovered = {}; // chart id -> fraction of the time axis, or absent

const plotX = (part) => LEFT + part * (WIDTH - LEFT);
const plotY = (part) => (1 - part) * (HEIGHT - BOTTOM - 6) + 6;

/** Powers of ten around the values, for a logarithmic axis. */
function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
  const ticks = [];
  for (let power = low; power <= high; power++) ticks.push(10 ** power);
  return { ticks, place: (v) => (Math.log10(v) - low) / (high - low) };
}

/** From zero to a round number above the values. */
function linear(values, least) {
  const most = Math.max(least, ...values);
  const step = 10 ** Math.floor(Math.log10(most));
  const top = [1, 2, 5, 10].map((n) => n * step).find((n) => n >= most);
  return { ticks: [0, top / 2, top], place: (v) => v / top };
}

/** Pieces of a line: it breaks where slots are missing or tell nothing. */
function pieces(points, read, gap) {
  const found = [];
  let last = null;
  for (const point of points) {
    const value = read(point);
    if (value === null) continue;
    if (last === null || point.at - last > gap * 1.5) found.push([]);
    found[found.length - 1].push([point.at, value]);
    last = point.at;
  }
  return found;
}

function axes(scale, label, since, until) {
  const rows = scale.ticks.map((tick) => [
    s("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: plotY(scale.place(tick)), y2: plotY(scale.place(tick)) }),
    s("text", { class: "soft", x: LEFT - 6, y: plotY(scale.place(tick)) + 4, "text-anchor": "end" }, label(tick)),
  ]);
  const short = (at) => clock(at).slice(0, 5);
  return [rows,
    s("text", { class: "soft", x: LEFT, y: HEIGHT - 3 }, short(since)),
    s("text", { class: "soft", x: WIDTH, y: HEIGHT - 3, "text-anchor": "end" }, short(until))];
}

/** chart: {title, lines: [{name, kind, read, columns}], label, scale}. */
function draw(id, chart, board) {
  const points = board.points;
  const figure = document.getElementById(id);
  const since = points.length ? Math.min(points[0].at, board.at - 60) : board.at - 60;
  const x = (at) => plotX((at - since) / Math.max(board.at - since, 1));
  const values = points.flatMap((p) => chart.lines.map((l) => l.read(p))).filter((v) => v !== null);
  const scale = chart.scale(values);
  const y = (value) => plotY(scale.place(value));
  const marks = chart.lines.map((line) => line.columns
    ? points.map((p) => columns(line, p, x, y, board.slot_seconds))
    : pieces(points, line.read, board.slot_seconds).map((piece) => stroke(line, piece, x, y)));
  const view = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": chart.title },
    axes(scale, chart.label, since, board.at), marks);
  const caption = h("figcaption");
  const read = () => {
    const at = id in hovered ? since + hovered[id] * (board.at - since) : null;
    const near = at === null ? points[points.length - 1]
      : points.reduce((best, p) => (best && Math.abs(best.at - at) <= Math.abs(p.at - at) ? best : p), null);
    view.querySelector(".cursor")?.remove();
    if (at !== null && near) view.append(s("line", { class: "cursor", x1: x(near.at), x2: x(near.at), y1: 6, y2: HEIGHT - BOTTOM }));
    caption.replaceChildren(h("b", {}, chart.title), ...chart.lines.map((line) =>
      h("span", {}, h("span", { class: `c-${line.kind}` }, line.name), near && line.read(near) !== null ? chart.label(line.read(near)) : "–")),
      at !== null && near ? h("span", { class: "soft" }, `at ${clock(near.at)}`) : "");
  };
  view.addEventListener("pointermove", (event) => {
    const box = view.getBoundingClientRect();
    const part = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT);
    hovered[id] = Math.min(1, Math.max(0, part));
    read();
  });
  view.addEventListener("pointerleave", () => { delete hovered[id]; read(); });
  read();
  figure.replaceChildren(caption, view);
}

function stroke(line, piece, x, y) {
  if (piece.length === 1) {
    return s("circle", { class: `fill c-${line.kind}`, cx: x(piece[0][0]), cy: y(piece[0][1]), r: 2 });
  }
  const path = piece.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return s("polyline", { class: `line c-${line.kind}`, points: path });
}

/** One column of a stack: from what is below it up to its own share. */
function columns(line, point, x, y, slot) {
  const [low, high] = line.columns(point);
  if (high <= low) return null;
  const width = Math.max(1, Math.min(x(point.at + slot), WIDTH) - x(point.at) - 0.5);
  return s("rect", { class: `fill c-${line.kind}`, x: x(point.at), y: y(high), width, height: y(low) - y(high) });
}
