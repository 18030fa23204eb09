// Asks for the state once a second while somebody can see the page, and draws it.

const EVERY = 1000; // ms
const PATIENCE = 5000; // ms until an answer counts as lost
const SLOWEST = 15000; // ms between tries at a proxy that does not answer
let timer = null;
let asking = false;
let paused = false;
let failures = 0;

const LINES = {
  ttft: {
    title: "Time to first token",
    label: seconds,
    scale: (values) => decades(values.length ? values : [0.01, 1]),
    lines: [
      { name: "p50 ", kind: "run", read: (p) => p.ttft_p50 },
      { name: "p90 ", kind: "wait", read: (p) => p.ttft_p90 },
      { name: "p99 ", kind: "lead", read: (p) => p.ttft_p99 },
    ],
  },
  cached: {
    title: "Prompt tokens cached",
    label: percent,
    scale: () => linear([1], 1),
    lines: [
      { name: "predicted ", kind: "lead", read: (p) => p.predicted },
      { name: "reported ", kind: "warm", read: (p) => p.reported },
    ],
  },
};

function stack(name, kind, span, below, own) {
  const columns = (p) => [below(p) / span(p), (below(p) + own(p)) / span(p)];
  return { name, kind, read: (p) => own(p) / span(p), columns };
}

/** Requests a second, stacked: finished, refused, failed; the last slot is not over yet. */
function ended(board) {
  const span = (p) => Math.min(board.slot_seconds, Math.max(1, board.at - p.at));
  return {
    title: "Requests ended a second",
    label: (v) => (v < 10 ? v.toFixed(1) : String(Math.round(v))),
    scale: () => linear(board.points.map((p) => (p.finished + p.refused + p.failed) / span(p)), 1),
    lines: [
      stack("finished ", "warm", span, () => 0, (p) => p.finished),
      stack("refused ", "lead", span, (p) => p.finished, (p) => p.refused),
      stack("failed ", "bad", span, (p) => p.finished + p.refused, (p) => p.failed),
    ],
  };
}

function render(board) {
  document.title = board.waiting ? `${count(board.waiting)} wait – paceline` : "paceline";
  show("about", `${board.policy} policy, version ${board.version}, up ${seconds(board.uptime_seconds)}`);
  for (const panel of [findings, figures, queue, trie, backends, decisions, whatIf]) panel(board);
  draw("ttft", LINES.ttft, board);
  draw("cached", LINES.cached, board);
  draw("ended", ended(board), board);
}

function live(kind, text) {
  const sign = document.getElementById("live");
  sign.className = kind;
  if (sign.textContent !== text) sign.textContent = text; // it is read aloud when it changes
  document.querySelector("main").classList.toggle("stale", kind === "lost");
}

/** Somebody who marks text to copy it does not want it redrawn. */
const marking = () => !window.getSelection().isCollapsed;

async function ask() {
  const answer = await fetch("ui/state", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(answer.status === 401 ? "an admin's key is needed: reload" : `status ${answer.status}`);
  return answer.json();
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden || paused || asking) return;
  asking = true;
  try {
    const board = await ask();
    failures = 0;
    if (!marking()) render(board);
    document.body.dataset.polls = Number(document.body.dataset.polls || 0) + 1;
    live("on", "live");
  } catch (error) {
    failures += 1;
    live("lost", `lost: ${error.name === "Error" ? error.message : "no answer"}`);
  }
  asking = false;
  timer = setTimeout(poll, Math.min(SLOWEST, EVERY * 2 ** Math.min(failures, 4)));
}

function pause() {
  paused = !paused;
  const button = document.getElementById("pause");
  button.textContent = paused ? "Go on" : "Pause";
  button.setAttribute("aria-pressed", String(paused));
  if (paused) live("", "paused");
  poll();
}

document.addEventListener("visibilitychange", poll);
document.getElementById("pause").addEventListener("click", pause);
trieLegend();
poll();
