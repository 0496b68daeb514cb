// Every episode of the evaluation: which policy won where; any start played again, beside what was imagined of it.
import { ask, askPacked } from "./api.js";
import { address } from "./app.js";
import { figure } from "./chart.js";
import { h, notice, short } from "./dom.js";
import { bodiesOf, drawBodies, drawPicture } from "./draw.js";

const COLOURS = ["--blue", "--orange", "--green", "--purple"];

export default async function episodes(main, query) {
  const runs = (await ask("/api/runs")).runs.filter((run) => run.report);
  const key = query.get("run") ?? runs[0]?.id;
  main.append(h("h1", {}, "Episodes of the evaluation"));
  if (!key) {
    main.append(h("p", {}, "There is no finished run yet."));
    return null;
  }
  const choose = h("select", { "aria-label": "Run", onchange: () => { location.hash = address("episodes", { run: choose.value }); } },
    runs.map((run) => h("option", { value: run.id, selected: run.id === key }, run.name)));
  main.append(h("div", { class: "bar" }, choose));
  let table;
  try {
    table = await ask(`/api/runs/${encodeURIComponent(key)}/outcomes`);
  } catch (error) {
    main.append(h("p", { class: "problem" }, error.message));
    return null;
  }
  const names = Object.keys(table.policies);
  const [before, after] = ["pretrained", "refined"].map((name) => table.policies[name] ?? table.policies[names[0]]);
  const KINDS = {
    all: ["all starts", () => true],
    lost: ["refinement lost", (i) => before[i] && !after[i]],
    won: ["refinement won", (i) => !before[i] && after[i]],
    neither: ["both fail", (i) => !before[i] && !after[i]],
  };
  const stop = { timer: null };
  const filter = h("select", { "aria-label": "Which starts" }, Object.entries(KINDS).map(([kind, [title, test]]) => h("option", { value: kind }, `${title} (${table.seeds.filter((_, i) => test(i)).length})`)));
  const cells = h("div");
  const shown = h("div");
  filter.onchange = draw;
  main.append(
    h("p", { class: "muted small" }, `Each cell is a start that no training saw, played for ${table.decisions} decisions: ✓ success, ✗ failure. Choose one to see it again.`),
    h("div", { class: "bar" }, filter), cells, shown);

  function draw() {
    const test = KINDS[filter.value][1];
    cells.replaceChildren(...names.map((name) => h("div", {},
      h("h2", {}, name),
      h("div", { class: "cells", role: "group", "aria-label": name }, table.seeds.map((seed, index) => test(index)
        ? h("button", { type: "button", class: table.policies[name][index] ? "won" : "lost", "data-index": String(index), title: `start ${index}, seed ${seed}`, "aria-label": `${name}, start ${index}, ${table.policies[name][index] ? "success" : "failure"}`, onclick: () => play(index) }, table.policies[name][index] ? "✓" : "✗")
        : null)))));
  }

  async function play(index) {
    clearInterval(stop.timer);
    for (const cell of cells.querySelectorAll("button")) cell.dataset.index === String(index) ? cell.setAttribute("aria-current", "true") : cell.removeAttribute("aria-current");
    shown.replaceChildren(h("p", { class: "muted", role: "status" }, "Playing it in the simulator …"));
    try {
      const camera = play.camera ? "&camera=1" : "";
      const chosen = names.filter((name) => name !== "filtered" || play.filtered);
      const clips = [];
      for (const name of chosen) clips.push(await askPacked(`/api/runs/${key}/episode?policy=${encodeURIComponent(name)}&seed=${table.seeds[index]}${camera}`));
      if (main.isConnected) show(index, clips);
    } catch (error) {
      shown.replaceChildren(h("p", { class: "problem" }, error.message));
    }
  }

  function show(index, clips) {
    const length = Math.max(...clips.map((clip) => clip.frames.length));
    const slider = h("input", { type: "range", min: "0", max: String(length - 1), value: "0", "aria-label": "Frame", oninput: () => paint() });
    const at = h("span", { class: "small" });
    const play_ = h("button", { type: "button", class: "main", onclick: () => run(stop.timer === null) }, "Play");
    const gap = figure("gap between imagined and real under the same actions", h);
    const option = (name, text) => h("label", { class: "small" }, h("input", { type: "checkbox", checked: Boolean(play[name]), onchange: (event) => { play[name] = event.target.checked; play(index); } }), text);
    const views = clips.flatMap((clip) => ["real", "imagined"].map((where) => {
      const canvas = h("canvas", { role: "img", "aria-label": `${clip.policy}, ${where}`, class: clip.frames[0].real.pictures.length ? "pixels" : "" });
      const camera = h("canvas", { role: "img", class: "camera", "aria-label": "the simulator's camera" });
      camera.hidden = clip.frames[0][where].camera === undefined;
      const tag = h("span", { class: "tag" });
      return { clip, where, canvas, camera, tag, element: h("section", { class: "pane" }, h("h3", {}, h("span", {}, `${clip.policy} · ${where === "real" ? "simulator" : "imagined"}`), tag), canvas, camera) };
    }));
    const differs = clips.filter((clip) => clip.frames.at(-1).success !== clip.recorded);
    const shape = meta?.shape;
    shown.replaceChildren(...[
      h("h2", {}, `Start ${index} (seed ${table.seeds[index]})`),
      h("div", { class: "bar" }, play_, at, option("camera", "the simulator's camera"), names.includes("filtered") ? option("filtered", "filtered, too") : null,
        h("a", { href: address("drive", { run: key }) }, "Drive in this model")),
      slider, h("div", { class: "panes pairs" }, views.map((view) => view.element)), h("div", { class: "strip" }, gap.element),
      ...differs.map((clip) => h("p", { class: "small problem" }, `${clip.policy}: the evaluation, which played several starts at once, had a ${clip.recorded ? "success" : "failure"} here; networks differ in the last bits.`)),
    ].filter(Boolean));

    function paint() {
      const step = Number(slider.value);
      at.textContent = `frame ${step} of ${length - 1}`;
      for (const view of views) {
        const last = view.clip.frames.length - 1;
        const frame = view.clip.frames[Math.min(step, last)];
        const seen = frame[view.where];
        view.tag.textContent = step < last ? "" : frame.success ? "success" : "failure";
        view.tag.className = `tag ${frame.success ? "good" : "bad"}`;
        view.tag.hidden = step < last || view.where !== "real";
        if (seen.pictures.length) drawPicture(view.canvas, view.clip.pictures[seen.pictures[0]]);
        else if (shape?.bodies.length) {
          const trail = view.clip.frames.slice(0, Math.min(step, last) + 1).map((each) => each[view.where].state);
          drawBodies(view.canvas, shape, meta.bounds, seen.state, trail, frame[view.where === "real" ? "imagined" : "real"].state ?? null);
        }
        if (seen.camera !== undefined) drawPicture(view.camera, view.clip.pictures[seen.camera]);
      }
      const now = clips.map((clip) => short(clip.frames[Math.min(step, clip.frames.length - 1)].gap ?? 0)).join(" | ");
      gap.show(clips.map((clip, number) => ({ values: clip.frames.map((frame) => frame.gap), colour: COLOURS[number] })), { from: 0, to: length - 1, cursor: step }, `${clips.map((clip) => clip.policy).join(" | ")}: ${now}`);
    }

    function run(on) {
      clearInterval(stop.timer);
      stop.timer = null;
      play_.textContent = on ? "Pause" : "Play";
      if (!on) return;
      if (Number(slider.value) >= length - 1) slider.value = "0";
      stop.timer = setInterval(() => {
        slider.value = String(Number(slider.value) + 1);
        paint();
        if (Number(slider.value) >= length - 1) run(false);
      }, 40);
    }
    requestAnimationFrame(paint);
  }

  let meta = null;
  try {
    const { states, bounds } = await ask(`/api/runs/${encodeURIComponent(key)}/states`);
    meta = { bounds, shape: bodiesOf(states, bounds) };
  } catch (error) {
    notice(error.message);
  }
  draw();
  return () => clearInterval(stop.timer);
}
