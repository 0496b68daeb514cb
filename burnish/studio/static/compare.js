// Some runs side by side: what came of them, and in which settings they differ.
import { ask } from "./api.js";
import { address } from "./app.js";
import { command, duration, h, percent } from "./dom.js";

const number = (value) => (typeof value === "number" ? String(Math.round(1000 * value) / 1000) : "–");
const ROWS = [
  ["Task", (r) => r.task], ["Recipe", (r) => r.recipe], ["Seed", (r) => r.seed],
  ["Cloned", (r) => success(r, "pretrained")], ["Filtered", (r) => success(r, "filtered")], ["Refined", (r) => success(r, "refined")],
  ["Refined − cloned", (r) => difference(r.paired_difference)], ["Refined − filtered", (r) => difference(r.over_filtered?.paired_difference)],
  ["In imagination, refined", (r) => percent(r.imagined_success?.refined)],
  ["Gate", (r) => (r.gate ? (r.gate.accepted ? "accepted" : `rejected: ${(r.gate.reasons ?? []).join("; ")}`) : "none")],
  ["Chosen iteration", (r) => r.chosen_iteration], ["Imagined steps", (r) => r.imagined_steps],
  ["Simulator steps in refinement", (r) => r.simulator_steps?.refinement],
  ["Time in all", (r) => duration(Object.values(r.seconds ?? {}).reduce((sum, each) => sum + each, 0))],
];

export default async function compare(main, query) {
  const ids = (query.get("runs") ?? "").split(",").filter(Boolean);
  const listed = (await ask("/api/runs")).runs;
  const runs = await Promise.all(ids.map(async (id) => {
    const name = listed.find((each) => each.id === id)?.name ?? id;
    try { return { id, name, ...(await ask(`/api/runs/${encodeURIComponent(id)}`)) }; } catch (error) { return { id, name, report: {}, settings: {}, problem: error.message }; }
  }));
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))].filter((name) => runs.length === 1 || new Set(runs.map((run) => run.settings[name])).size > 1);
  const head = () => h("thead", {}, h("tr", {}, h("th", {}, ""), runs.map((run) => h("th", { scope: "col" }, h("a", { href: address("drive", { run: run.id }) }, run.name)))));
  const line = (title, cells) => h("tr", {}, h("th", { scope: "row" }, title), cells.map((each) => h("td", {}, String(each ?? "–"))));
  main.append(...[
    h("h1", {}, runs.length > 1 ? "Side by side" : runs[0]?.name ?? "No run was chosen"),
    ...runs.filter((run) => run.problem).map((run) => h("p", { class: "problem" }, `${run.name}: ${run.problem}`)),
    h("div", { class: "scroll" }, h("table", {}, head(), h("tbody", {}, ROWS.map(([title, value]) => line(title, runs.map((run) => { try { return value(run.report); } catch { return "–"; } })))))),
    h("h2", {}, runs.length === 1 ? "Settings" : names.length ? "Settings that differ" : "No setting differs"),
    names.length ? h("div", { class: "scroll" }, h("table", {}, head(), h("tbody", {}, names.map((name) => line(name, runs.map((run) => run.settings[name])))))) : null,
    h("h2", {}, "Training curves"),
    command(`tensorboard --logdir_spec ${runs.map((run) => `'${run.name.replaceAll(/[^\w.-]/g, "_")}:${(run.folder ?? "").replaceAll("'", "'\\''")}'`).join(",")}`),
  ].filter(Boolean));
}

function success(report, policy) {
  const found = report.policies?.[policy];
  const each = found?.success ?? null;
  if (each) return `${percent(each.rate)} (${percent(each.ci95[0])} to ${percent(each.ci95[1])})`;
  return found?.return ? `${number(found.return.mean)} (${number(found.return.ci95[0])} to ${number(found.return.ci95[1])})` : "–";
}

const difference = (found) => (found ? `${number(100 * found.difference)} points (${number(100 * found.low)} to ${number(100 * found.high)})` : "–");
