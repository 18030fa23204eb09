// The panels in figures and tables.

function findings(board) {
  const words = { bad: "Broken", warn: "Look", note: "Note" };
  const rows = board.findings.map(({ level, text }) => h("li", { class: level }, h("b", {}, words[level]), text));
  show("findings", rows.length ? rows : h("li", { class: "well" }, "Nothing needs a look."));
}

function figures(board) {
  const { recent, points } = board;
  const ago = board.at - 60 - board.slot_seconds;
  const minute = points.filter((p) => p.at > ago);
  const span = minute.length ? Math.min(60, Math.max(1, board.at - minute[0].at)) : 60;
  const rate = minute.reduce((sum, p) => sum + p.finished + p.refused + p.failed, 0) / span;
  const oldest = Math.max(0, ...board.picture.queues.map((q) => q.oldest_seconds));
  const seen = points.filter((p) => p.ttft_p50 !== null);
  const last = seen[seen.length - 1] || { ttft_p50: null, ttft_p99: null };
  const figure = (name, value, small) => [h("dt", {}, name), h("dd", {}, h("strong", {}, value), h("small", {}, small))];
  const groups = [
    figure("Waiting", count(board.waiting), board.waiting
      ? `${tokens(board.waiting_tokens)} tokens, oldest ${seconds(oldest)}` : `of ${count(board.max_waiting)} that may`),
    figure("In flight", count(board.in_flight), `on ${plural(board.backend_count, "backend")}`),
    figure("Ended", `${rate.toFixed(rate < 10 ? 1 : 0)}/s`, "in the last minute"),
    figure("TTFT, median", seconds(last.ttft_p50), `p99 ${seconds(last.ttft_p99)}`),
    figure("Cached", percent(ratio(recent.reported, recent.prompt)),
      `predicted ${percent(ratio(recent.predicted, recent.prompt))}`),
    figure("Failed", count(recent.failed), `of ${count(recent.ended)} in 5${SPACE}min`),
  ];
  show("figures", groups.map((group) => h("div", {}, group)));
}

function queue(board) {
  const { queues, families, family_count: all, alone } = board.picture;
  const rows = queues.map((line) => {
    const by = causes(line);
    const full = line.full.length ? `; the next one does not fit into the KV room of ${line.full.join(", ")}` : "";
    return h("div", {},
      h("div", {}, h("b", {}, line.model || "any model"), ` ${count(line.waiting)} wait, the oldest for ${seconds(line.oldest_seconds)}${full}`),
      bar(WAITS.map(([kind, name, title]) => [kind, by[name], `${by[name]} ${title}`]), board.waiting),
      h("div", { class: "legend" }, WAITS.filter(([, name]) => by[name]).map(([kind, name, title]) =>
        h("span", {}, h("span", { class: `swatch ${kind}` }), `${count(by[name])} ${title}`))));
  });
  show("causes", rows.length ? rows : h("p", { class: "soft" }, "Nothing waits."));
  const most = Math.max(1, ...families.map((one) => one.waiting));
  document.getElementById("families").hidden = !families.length;
  table("families", [
    ["Family", family, "text"],
    ["Waiting", (one) => count(one.waiting), "n"],
    ["", (one) => bar(WAITS.map(([kind, name]) => [kind, causes(one)[name]]), most)],
    ["Running", (one) => count(one.running), "n"],
    ["Oldest", (one) => seconds(one.oldest_seconds), "n"],
    ["Why", because, "text"],
  ], families, "");
  const rest = all - families.length;
  show("families-rest", [rest > 0 && `${plural(rest, "smaller family", "smaller families")} not shown.`,
    alone > 0 && `${plural(alone, "request")} share nothing with another.`].filter(Boolean).join(" "));
}

function kv({ now }) {
  if (!now.kv_tokens) return h("span", { class: "soft" }, "pool not told");
  const used = Math.min(now.kv_tokens, now.kv_tokens - now.kv_room);
  return [`${tokens(Math.max(0, now.kv_room))} of ${tokens(now.kv_tokens)}`, bar([["bg-run", used]], now.kv_tokens, true)];
}

function hits({ recent }) {
  if (!recent.prompt) return h("span", { class: "soft" }, "not told");
  return `${percent(ratio(recent.reported, recent.prompt))} / ${percent(ratio(recent.predicted, recent.prompt))}`;
}

function backends(board) {
  table("backends", [
    ["Backend", (b) => [h("b", {}, b.now.id), h("div", { class: "soft" }, [b.kind, b.now.models.slice(0, 3).join(", ")].filter(Boolean).join(", "))]],
    ["", (b) => pill(b.condition)],
    ["KV room", kv],
    ["In flight", (b) => count(b.now.in_flight), "n"],
    ["Unstarted", (b) => count(b.now.unstarted), "n"],
    ["Prefill ahead", (b) => [`${tokens(b.now.prefill_tokens)} tokens`, h("div", { class: "soft" }, `${tokens(b.now.prefill_rate)}/s`)], "n"],
    ["Cached / predicted", hits, "n"],
    ["Recomputed", (b) => percent(ratio(b.recent.missed, b.recent.predicted)), "n"],
    ["Failed", (b) => (b.recent.ended ? `${count(b.recent.failed)} of ${count(b.recent.ended)}` : "–"), "n"],
  ], board.backends, "No backend is configured.");
  const hidden = board.backend_count - board.backends.length;
  show("backends-rest", hidden > 0 ? `${count(hidden)} less busy ones are not shown.` : "");
}

function decisions(board) {
  table("decisions", [
    ["Time", (d) => clock(d.at), "nowrap"],
    ["Reason", (d) => [pill(d.reason), ` ${d.why}`], "text"],
    ["Family", (d) => [h("span", { class: "key" }, d.family || "–"), h("div", { class: "soft" }, [d.model, d.tenant].filter(Boolean).join(" / "))], "nowrap"],
    ["Backend", (d) => d.backend || "–", "nowrap"],
    ["Waited", (d) => seconds(d.waited), "n"],
    ["Prompt", (d) => tokens(d.prompt_tokens), "n"],
    ["Predicted", (d) => tokens(d.predicted), "n"],
    ["Reported", (d) => tokens(d.reported), "n"],
    ["TTFT", (d) => seconds(d.ttft), "n"],
    ["", (d) => d.outcome || (d.backend ? "runs" : "")],
    ["Request", (d) => h("span", { class: "key soft" }, d.id)],
  ], board.decisions, "Nothing was decided yet.");
  document.getElementById("failures-section").hidden = !board.failures.length;
  table("failures", [
    ["Time", (f) => clock(f.at), "nowrap"],
    ["Status", (f) => pill("failed", String(f.status || "–"))],
    ["Backend", (f) => f.backend || "–"],
    ["Model", (f) => f.model],
    ["Reason", (f) => f.reason],
    ["Attempts", (f) => count(f.attempts), "n"],
    ["Request", (f) => h("span", { class: "key" }, f.id)],
  ], board.failures, "");
}

let shownWhatIf = "";

function whatIf({ what_if: { recording, commands, report_at } }) {
  const text = [report_at, ...commands].join("\n");
  if (text === shownWhatIf) return; // or the button would lose the focus each second
  shownWhatIf = text;
  const copy = (command) => {
    const button = h("button", { type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    });
    return window.isSecureContext ? button : null; // elsewhere browsers have no clipboard
  };
  show("what-if",
    h("p", { class: "soft" }, recording
      ? `What the scheduler is told is recorded to ${recording}. Play it under other policies:`
      : "Record what the scheduler is told (hashes and lengths, no text), then play it under other policies:"),
    commands.map((command) => h("pre", {}, h("code", {}, command), copy(command))),
    report_at && h("p", {}, h("a", { href: "ui/what-if" },
      `The report of ${new Date(1000 * report_at).toLocaleString()}`)));
}
