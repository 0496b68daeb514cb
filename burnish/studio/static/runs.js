// The table of runs: sorted, filtered, live.
import { ask } from "./api.js";
import { address } from "./app.js";
import { duration, h, percent } from "./dom.js";

const EVERY = 3000;
const COLUMNS = [
  ["name", "Run", (run) => run.name],
  ["task", "Task", (run) => run.task ?? ""],
  ["recipe", "Recipe", (run) => run.recipe ?? ""],
  ["seed", "Seed", (run) => run.seed ?? -1],
  ["pretrained", "Cloned", (run) => run.policies?.pretrained?.value ?? -1],
  ["filtered", "Filtered", (run) => run.policies?.filtered?.value ?? -1],
  ["refined", "Refined", (run) => run.policies?.refined?.value ?? -1],
  ["gate", "Gate", (run) => run.gate ?? ""],
  ["age", "Age", (run) => -Date.parse(run.created ?? 0)],
  ["state", "State", (run) => run.state.is],
];
const kept = { sort: "age", down: false, filter: "", chosen: new Set() };

export default async function runs(main) {
  const body = h("tbody");
  const count = h("p", { class: "muted small", role: "status" });
  const compare = h("a", { href: "#runs" });
  const filter = h("input", {
    type: "search", "aria-label": "Filter runs", placeholder: "Filter: task, recipe, name", value: kept.filter,
    oninput: () => { kept.filter = filter.value; draw(); },
  });
  let rows = [];
  let timer = null;
  let gone = false;

  const heads = COLUMNS.map(([key, title]) =>
    h("th", { scope: "col", "data-key": key }, h("button", { type: "button", onclick: () => sort(key) }, title)));
  main.append(
    h("h1", {}, "Runs"),
    h("div", { class: "bar" }, filter, compare),
    count,
    h("div", { class: "scroll" }, h("table", { class: "runs" }, h("thead", {}, h("tr", {}, h("th", {}, ""), heads, h("th", {}, ""))), body)),
  );

  function sort(key) {
    kept.down = kept.sort === key ? !kept.down : !["name", "task", "recipe", "seed", "age"].includes(key);
    kept.sort = key;
    draw();
  }

  function draw() {
    const value = COLUMNS.find(([key]) => key === kept.sort)[2];
    const words = kept.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = rows.filter((run) => words.every((word) => `${run.name} ${run.task} ${run.recipe} ${run.gate} ${run.state.is}`.toLowerCase().includes(word)));
    shown.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : a.name < b.name ? -1 : 1) * (kept.down ? -1 : 1);
    });
    for (const head of heads) head.setAttribute("aria-sort", head.dataset.key !== kept.sort ? "none" : kept.down ? "descending" : "ascending");
    const focused = document.activeElement?.closest?.("tr")?.dataset.id;
    const place = focused ? [...document.activeElement.closest("tr").querySelectorAll("a,input,button")].indexOf(document.activeElement) : -1;
    body.replaceChildren(...shown.map(row));
    if (focused) body.querySelector(`tr[data-id="${focused}"]`)?.querySelectorAll("a,input,button")[place]?.focus();
    count.textContent = rows.length === 0 ? "No run is here yet: burnish demo makes one." : `${shown.length} of ${rows.length} runs`;
    choose();
  }

  function choose() {
    const many = kept.chosen.size;
    compare.textContent = many < 2 ? "Choose runs to compare them side by side" : `Compare ${many} runs`;
    compare.href = many < 2 ? "#runs" : address("compare", { runs: [...kept.chosen].join(",") });
    compare.className = many < 2 ? "muted small" : "";
  }

  function row(run) {
    const box = h("input", {
      type: "checkbox", "aria-label": `Choose ${run.name}`, checked: kept.chosen.has(run.id),
      onchange: () => { kept.chosen[box.checked ? "add" : "delete"](run.id); choose(); },
    });
    const links = [h("a", { href: address("drive", { run: run.id }) }, "Drive")];
    if (run.report) links.push(" · ", h("a", { href: address("episodes", { run: run.id }) }, "Episodes"));
    links.push(" · ", h("a", { href: address("data", { run: run.id }) }, "Data"));
    if (run.page) links.push(" · ", h("a", { href: `/runs/${run.id}/report.html`, target: "_blank", rel: "noopener" }, "Report"));
    if (run.report) links.push(" · ", h("a", { href: `/runs/${run.id}/report.json`, target: "_blank", rel: "noopener" }, "JSON"));
    const age = run.created ? (Date.now() - Date.parse(run.created)) / 1000 : null;
    return h("tr", { "data-id": run.id },
      h("td", {}, box),
      h("td", { class: "name wide", title: run.sentence ?? null }, run.report ? h("a", { href: address("compare", { runs: run.id }) }, run.name) : run.name, run.headline ? h("span", { class: "interval" }, run.headline) : null, run.problem ? h("span", { class: "problem" }, run.problem) : null),
      h("td", { "data-label": "Task" }, run.task ?? "–"),
      h("td", { "data-label": "Recipe" }, run.recipe ?? "–"),
      h("td", { class: "number", "data-label": "Seed" }, String(run.seed ?? "–")),
      rate(run, "pretrained", "Cloned"), rate(run, "filtered", "Filtered"), rate(run, "refined", "Refined"),
      h("td", { "data-label": "Gate" }, run.gate ? h("span", { class: `tag ${{ accepted: "good", rejected: "bad" }[run.gate] ?? ""}` }, run.gate) : "–"),
      h("td", { class: "number", "data-label": "Age" }, duration(age)),
      h("td", { "data-label": "State" }, state(run.state)),
      h("td", { class: "wide" }, links));
  }

  async function look() {
    try {
      const found = await ask("/api/runs");
      if (gone) return;
      const text = JSON.stringify(found.runs);
      if (text !== look.last) {
        look.last = text;
        rows = found.runs;
        draw();
      }
    } catch (error) {
      count.textContent = error.message;
    }
    if (!gone) timer = setTimeout(look, EVERY);
  }
  await look();
  return () => { gone = true; clearTimeout(timer); };
}

function rate(run, policy, title) {
  const found = run.policies?.[policy];
  if (!found) return h("td", { class: "number", "data-label": title }, "–");
  const say = run.measure === "success" ? percent : (value) => String(Math.round(10 * value) / 10);
  return h("td", { class: "number", "data-label": title }, say(found.value), h("span", { class: "interval" }, `${say(found.low)} to ${say(found.high)}`));
}

function state(found) {
  const stages = found.stages.map((each) => `${each.stage}${each.share === null ? "" : ` ${Math.floor(100 * each.share)} %`}${each.left === null ? "" : `, ${duration(each.left)} left`}`);
  return h("span", {}, h("span", { class: `tag ${found.is === "running" ? "live" : found.is === "done" ? "good" : ""}` }, found.is),
    stages.map((each) => h("span", { class: "interval" }, each)),
    found.left ? h("span", { class: "interval", title: `as the stages of ${found.left.like} took, at this run's own speed` }, `about ${duration(found.left.seconds)} until all is done`) : null);
}
