// The trie as a picture: prompts run from left to right, each shared prefix is a block as wide as it
// is long (square roots, or a short system prompt could not be seen), behind each fork its riders.

const TRIE = 1000;
const TREE_WIDTH = 620;
const ROW = 17;
const RIDERS = 18;

/** Children of each place, and one more row where a node has requests that no child shows. */
function grow(prefixes) {
  const nodes = prefixes.map((prefix) => ({ prefix, children: [], weight: prefix.waiting + prefix.running }));
  const roots = [];
  for (const node of nodes) {
    (node.prefix.parent === null ? roots : nodes[node.prefix.parent].children).push(node);
  }
  return roots;
}

/** Gives each node its first row and how many it has; returns the next free row. */
function settle(node, row) {
  node.row = row;
  const below = node.children.reduce((sum, child) => sum + child.weight, 0);
  for (const child of node.children) row = settle(child, row);
  node.own = node.children.length ? node.weight - below : node.weight;
  node.ownRow = row;
  if (!node.children.length || node.own > 0) row += 1;
  node.rows = row - node.row;
  return row;
}

/** Who rides: the leader, those that run, those that wait; as many as there is room for. */
function riders(node, row) {
  const prefix = node.prefix;
  const leaf = !node.children.length;
  const lead = prefix.leader && leaf ? 1 : 0;
  const run = leaf ? prefix.running - lead : 0;
  const kinds = [...Array(Math.max(0, lead)).fill("lead"), ...Array(Math.min(RIDERS, Math.max(0, run))).fill("run")];
  const wait = leaf ? prefix.waiting : node.own;
  while (kinds.length < Math.min(RIDERS, lead + run + wait)) kinds.push("wait");
  const y = row * ROW + ROW / 2;
  const dots = kinds.slice(0, RIDERS).map((kind, place) =>
    s("circle", { class: `rider ${kind}`, cx: TREE_WIDTH + 14 + place * 10, cy: y, r: 3.4 }));
  const more = leaf
    ? [lead && `leads on ${brief(prefix.leader.backend)}`, run > 0 && `${count(run)} run`, wait && `${count(wait)} wait`]
    : [`${count(wait)} in smaller branches`];
  const x = TREE_WIDTH + 18 + kinds.slice(0, RIDERS).length * 10;
  return [dots, s("text", { class: "soft", x, y: y + 4 }, more.filter(Boolean).join(", "))];
}

function block(node, scale) {
  const { prefix } = node;
  const left = scale(prefix.start);
  const width = Math.max(3, scale(prefix.end) - left);
  const kind = prefix.leader ? "lead" : prefix.cached.length ? "warm" : "";
  const where = prefix.leader
    ? `request ${prefix.leader.id} leads on ${prefix.leader.backend} since ${seconds(prefix.leader.seconds)}`
    : prefix.cached.length ? `cached on ${prefix.cached.slice(0, 8).join(", ")}` : "cached nowhere";
  const said = `${prefix.key}: tokens ${count(prefix.start)} to ${count(prefix.end)}, ${where}; `
    + `${count(prefix.waiting)} wait, ${count(prefix.running)} run, ${count(prefix.recent)} ended`;
  const label = [`${prefix.key}  ${tokens(prefix.end)} tokens`, prefix.key, ""].find((l) => l.length * 6.4 < width - 6);
  return [
    s("rect", { class: `node ${kind}`, x: left, y: node.row * ROW, width, height: node.rows * ROW }, s("title", {}, said)),
    label && s("text", { x: left + 5, y: node.row * ROW + 12, "pointer-events": "none" }, label),
  ];
}

function walk(node, visit) {
  visit(node);
  for (const child of node.children) walk(child, visit);
}

function trie(board) {
  const { prefixes, prefix_count: all } = board.picture;
  const roots = grow(prefixes);
  const rows = roots.reduce((row, root) => settle(root, row), 0);
  const longest = Math.max(1, ...prefixes.map((prefix) => prefix.end));
  const scale = (at) => Math.sqrt(at / longest) * TREE_WIDTH;
  const drawn = [];
  for (const root of roots) {
    walk(root, (node) => {
      drawn.push(block(node, scale));
      if (!node.children.length || node.own > 0) drawn.push(riders(node, node.ownRow));
    });
  }
  show("trie", rows ? s("svg", { viewBox: `0 0 ${TRIE} ${rows * ROW + 2}`, role: "img",
    "aria-label": "Prefixes that several prompts share, and who leads, runs and waits with each" }, drawn)
    : h("p", { class: "soft" }, "No two prompts share a prefix at the moment."));
  show("trie-rest", all > prefixes.length
    ? `${count(all - prefixes.length)} smaller prefixes are not drawn.` : "");
}

function trieLegend() {
  const dot = (kind, text) => h("span", {},
    s("svg", { viewBox: "0 0 10 10", style: { width: "10px", display: "inline", marginRight: ".45em" } },
      s("circle", { class: `rider ${kind}`, cx: 5, cy: 5, r: 3.4 })), text);
  const box = (color, text) => h("span", {},
    h("span", { class: "swatch", style: { background: `var(--${color}-tint)` } }), text);
  show("trie-legend", box("warm", "cached"), box("lead", "being computed"), box("wait", "cached nowhere"),
    dot("lead", "leads"), dot("run", "runs"), dot("wait", "waits"));
}
