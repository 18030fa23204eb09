// Numbers, times and names as people read them.

const SPACE = "\u00a0"; // between a number and its unit no line may break

const count = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en"));

function tokens(n) {
  if (n === null || n === undefined) return "–";
  if (n < 10000) return count(Math.round(n));
  return n < 1e6 ? `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)}k` : `${(n / 1e6).toFixed(1)}M`;
}

function seconds(t) {
  if (t === null || t === undefined) return "–";
  if (t < 0.9995) return `${Math.round(t * 1000)}${SPACE}ms`;
  if (t < 180) return `${t.toFixed(t < 9.95 ? 1 : 0)}${SPACE}s`;
  if (t < 5940) return `${Math.round(t / 60)}${SPACE}min`;
  return t < 172800 ? `${Math.round(t / 3600)}${SPACE}h` : `${Math.round(t / 86400)}${SPACE}d`;
}

const percent = (part) =>
  part === null || part === undefined || Number.isNaN(part) ? "–" : `${Math.round(part * 100)}%`;

const ratio = (part, whole) => (whole ? part / whole : null);

const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || `${one}s`}`;

/** A family: the beginning of its key, how long it is, whose it is. */
function family(one) {
  const whose = [one.models.join(", "), one.tenants.join(", ")].filter(Boolean).join(" / ");
  return [h("span", { class: "key" }, one.key), ` ${tokens(one.tokens)} tokens`,
    h("div", { class: "soft" }, whose)];
}

const WAITS = [
  ["bg-held", "held", "held for a leader that computes their prefix"],
  ["bg-parked", "parked", "wait for the backend that has their prefix, which is busy"],
  ["bg-turn", "turn", "their turn has not come: the backends have enough to do"],
];

/** How many wait for which cause. */
function causes(line) {
  const parked = Object.values(line.parked).reduce((sum, n) => sum + n, 0);
  return { held: line.held, parked, turn: Math.max(0, line.waiting - line.held - parked) };
}

/** Where a family's prefix is cached, or how much of it is where most is. */
function whereabouts({ cached, tokens: whole }) {
  const most = Math.max(0, ...Object.values(cached));
  if (!most) return "cached nowhere";
  const there = Object.keys(cached).filter((name) => cached[name] === most);
  const names = there.slice(0, 3).join(", ") + (there.length > 3 ? ` and ${there.length - 3} more` : "");
  return most >= whole ? `cached on ${names}` : `its first ${count(most)} tokens cached on ${names}`;
}

/** A name at a length that fits into a picture. */
const brief = (name) => (name.length > 20 ? `${name.slice(0, 19)}…` : name);

/** Why a family waits, in words. */
function because(one) {
  const said = [];
  const { held, parked, turn } = causes(one);
  if (one.leader) said.push(`${one.leader.backend} computes it since ${seconds(one.leader.seconds)}`);
  if (held) said.push(`${count(held)} held for that`);
  for (const [name, n] of Object.entries(one.parked)) said.push(`${count(n)} until ${name} has time`);
  if (turn && (held || parked)) said.push(`${count(turn)} not yet their turn`);
  said.push(whereabouts(one));
  return said.join("; ");
}
