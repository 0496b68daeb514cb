// Data sets: their episodes, what is odd about them, and success given by hand.
import { ask, tell } from "./api.js";
import { address } from "./app.js";
import { drawChart } from "./chart.js";
import { command, h, notice, short, typing } from "./dom.js";
import { bodiesOf, drawBodies } from "./draw.js";

export default async function data(main, query) {
  const run = query.get("run") ?? (await ask("/api/runs")).runs[0]?.id ?? null;
  const runs = (await ask("/api/runs")).runs;
  const { sets } = await ask(`/api/sets${run ? `?run=${encodeURIComponent(run)}` : ""}`);
  const key = query.get("set") ?? sets[0]?.id;
  main.append(h("h1", {}, "Data"));
  const ofRun = h("select", { "aria-label": "Run", onchange: () => { location.hash = address("data", { run: ofRun.value }); } }, runs.map((each) => h("option", { value: each.id, selected: each.id === run }, each.name)));
  const choose = h("select", { "aria-label": "Data set", onchange: () => { location.hash = address("data", { run, set: choose.value }); } }, sets.map((each) => h("option", { value: each.id, selected: each.id === key }, each.name)));
  main.append(h("div", { class: "bar" }, runs.length ? ofRun : null, choose));
  if (!key) {
    main.append(h("p", {}, "There is no data set here yet: name one with burnish studio --dataset PATH."));
    return null;
  }
  const status = h("p", { class: "muted", role: "status" }, "Reading …");
  main.append(status);
  let found;
  try {
    found = await ask(`/api/sets/${key}`);
  } catch (error) {
    status.textContent = error.message;
    status.className = "problem";
    return null;
  }
  status.remove();
  const page = new Page(main, key, found);
  return () => page.leave();
}

class Page {
  constructor(main, key, found) {
    Object.assign(this, { key, found, number: 0, frame: 0, labels: new Map(), content: null, asked: 0 });
    const states = found.state_names;
    const range = (name) => [found[name].map((each) => each.min), found[name].map((each) => each.max)];
    this.bounds = range("state");
    this.shape = bodiesOf(states, this.bounds);
    this.list = h("div", { class: "list", role: "group", "aria-label": "Episodes" });
    this.title = h("h2", {});
    this.drawing = h("canvas", { role: "img", "aria-label": "The frame" });
    this.pictures = found.cameras.map((camera) => h("img", { alt: camera, class: "pixels", width: 240 }));
    this.slider = h("input", { type: "range", min: "0", value: "0", "aria-label": "Frame", oninput: () => this.at(Number(this.slider.value)) });
    this.said = h("p", { class: "small", role: "status" });
    this.plots = h("div", { class: "plots" });
    this.counted = h("p", { class: "small muted", role: "status", id: "counted" });
    this.name = h("input", { type: "text", value: "labels", maxlength: "60", "aria-label": "Name of the labels" });
    this.savedAs = h("div");
    this.errors = found.findings.map((each) => h("li", { class: each.level === "error" ? "problem" : "small" }, h("strong", {}, `${each.level}: `), ...this.linked(each.text)));
    main.append(
      h("p", { class: "muted small" }, `${found.format} · ${found.episodes} episodes, ${found.frames} frames, ${short(found.fps)} a second`),
      h("details", { open: found.findings.some((each) => each.level === "error") }, h("summary", {}, `What these data can and cannot support (${found.findings.length})`), h("ul", {}, this.errors.length ? this.errors : h("li", {}, "Nothing stands out."))),
      h("div", { class: "two" }, this.list,
        h("div", {}, this.title, h("div", { class: "panes" }, this.shape.bodies.length ? h("section", { class: "pane" }, this.drawing) : null, this.pictures.map((each) => h("section", { class: "pane" }, each))),
          this.slider, this.said,
          h("details", { open: true }, h("summary", {}, "Label success"),
            h("p", { class: "small muted" }, h("kbd", {}, "Y"), " it succeeds from this frame on, ", h("kbd", {}, "E"), " it succeeds (not said when), ", h("kbd", {}, "N"), " it fails, ", h("kbd", {}, "U"), " not labelled; ",
              h("kbd", {}, "J"), " ", h("kbd", {}, "K"), " next and previous episode, ", h("kbd", {}, "←"), " ", h("kbd", {}, "→"), " frames."),
            h("div", { class: "bar" },
              h("button", { type: "button", onclick: () => this.label(true, this.frame) }, "Success from here"), h("button", { type: "button", onclick: () => this.label(true, null) }, "Success"),
              h("button", { type: "button", onclick: () => this.label(false, null) }, "Failure"), h("button", { type: "button", onclick: () => this.unlabel() }, "Not labelled"),
              h("button", { type: "button", onclick: () => this.recorded() }, "Begin with the recorded ones")),
            this.counted,
            h("div", { class: "bar" }, this.name, h("button", { type: "button", class: "main", onclick: () => this.save() }, "Save CSV"), h("button", { type: "button", onclick: () => this.load() }, "Load")),
            this.savedAs),
          h("h2", {}, "Time series"), this.plots)));
    this.keys = (event) => this.onkey(event);
    addEventListener("keydown", this.keys);
    this.rows();
    this.open(0);
  }

  leave() { removeEventListener("keydown", this.keys); }

  // A finding leads to the episode that it names.
  linked(text) {
    return text.split(/(episode \d+)/).map((part) => {
      const number = part.match(/^episode (\d+)$/)?.[1];
      return number === undefined || Number(number) >= this.found.rows.length ? part : h("button", { type: "button", class: "small", onclick: () => this.open(Number(number)) }, part);
    });
  }

  rows() {
    this.list.replaceChildren(...this.found.rows.map((row, index) => {
      const label = this.labels.get(index);
      const mark = label ? (label.success ? `✓${label.frame === null ? "" : ` ${label.frame}`}` : "✗") : row.success ? "(✓)" : "";
      return h("button", { type: "button", "data-index": String(index), "aria-current": index === this.number ? "true" : null, onclick: () => this.open(index) },
        h("span", {}, `${index} · ${row.source}`), h("span", {}, `${row.length} ${mark}`));
    }));
    const done = this.labels.size;
    this.counted.textContent = `${done} of ${this.found.rows.length} episodes labelled${done && done < this.found.rows.length ? ": --labels wants all of them" : ""}`;
  }

  async open(number) {
    const mine = ++this.asked;
    this.number = Math.min(this.found.rows.length - 1, Math.max(0, number));
    try {
      const content = await ask(`/api/sets/${this.key}/episodes/${this.number}`);
      if (mine !== this.asked) return;
      this.content = content;
    } catch (error) { notice(error.message); return; }
    const row = this.found.rows[this.number];
    this.title.textContent = `Episode ${this.number}: ${row.task}`;
    this.slider.max = String(row.length - 1);
    for (const each of this.list.children) {
      if (each.dataset.index === String(this.number)) { each.setAttribute("aria-current", "true"); each.scrollIntoView({ block: "nearest" }); } else each.removeAttribute("aria-current");
    }
    this.build();
    this.at(Math.min(this.labels.get(this.number)?.frame ?? 0, row.length - 1));
  }

  build() {
    const { states, actions, reward } = this.content;
    const column = (values, index) => values.map((row) => row[index]);
    const odd = (name) => this.found.findings.filter((each) => each.level !== "note" && new RegExp(`(^|[^\\w])${name.replaceAll(/[^\w]/g, ".")}([^\\w]|$)`).test(each.text));
    const curves = [
      ...this.found.action_names.map((name, index) => [`action ${name}`, column(actions, index), name]),
      ...(states.length ? this.found.state_names.map((name, index) => [name, column(states, index), name]) : []),
    ].filter(([, , name], index) => index < this.found.action_names.length || this.found.state.find((each) => each.name === name)?.kind !== "constant");
    if (reward) curves.unshift(["reward", reward, "reward"]);
    this.curves = curves.slice(0, 48).map(([title, values, name]) => {
      const canvas = h("canvas", { role: "img", "aria-label": title });
      const wrong = odd(name).map((each) => h("span", { class: "problem", title: each.text }, "⚠"));
      return { canvas, values, element: h("figure", {}, canvas, h("figcaption", {}, h("span", {}, title), ...wrong)) };
    });
    this.plots.replaceChildren(...this.curves.map((each) => each.element));
  }

  at(frame) {
    const row = this.found.rows[this.number];
    this.frame = Math.min(row.length - 1, Math.max(0, frame));
    this.slider.value = String(this.frame);
    const label = this.labels.get(this.number);
    const shows = label ? label.success && label.frame !== null && this.frame >= label.frame : this.content.success[this.frame];
    this.said.textContent = `frame ${this.frame} of ${row.length - 1}${shows ? " · shows success" : ""}${label ? ` · labelled: ${label.success ? "success" : "failure"}${label.frame === null ? "" : ` from frame ${label.frame}`}` : ""}`;
    const state = this.content.states[this.frame];
    if (this.shape.bodies.length) drawBodies(this.drawing, this.shape, this.bounds, state, this.content.states.slice(0, this.frame + 1));
    this.found.cameras.forEach((camera, index) => { this.pictures[index].src = `/api/sets/${this.key}/episodes/${this.number}/${this.frame}?camera=${encodeURIComponent(camera)}`; });
    const first = label ? label.frame : null;
    const marks = label ? (first === null ? [] : [...Array(row.length - first).keys()].map((each) => each + first)) : this.content.success.flatMap((each, index) => (each ? [index] : []));
    for (const each of this.curves) drawChart(each.canvas, [{ values: each.values }], { from: 0, to: row.length - 1, low: Math.min(...each.values), high: Math.max(...each.values) + 1e-9, marks, cursor: this.frame });
  }

  label(success, frame) { this.labels.set(this.number, { success, frame: success ? frame : null }); this.rows(); this.at(this.frame); }
  unlabel() { this.labels.delete(this.number); this.rows(); this.at(this.frame); }

  recorded() {
    this.found.rows.forEach((row, index) => { if (!this.labels.has(index)) this.labels.set(index, { success: row.success, frame: null }); });
    this.rows();
    this.at(this.frame);
  }

  async save() {
    try {
      const labels = [...this.labels].map(([episode, label]) => ({ episode, ...label }));
      const saved = await tell(`/api/sets/${this.key}/labels/${encodeURIComponent(this.name.value)}`, { labels });
      this.savedAs.replaceChildren(h("p", { class: "small" }, `${saved.labelled} labels: ${saved.path}${saved.missing ? ` (${saved.missing} episodes are missing)` : ""}`), command(saved.command));
      notice("Labels saved.");
    } catch (error) { notice(error.message, 12); }
  }

  async load() {
    try {
      const { labels } = await ask(`/api/sets/${this.key}/labels/${encodeURIComponent(this.name.value)}`);
      for (const { episode, ...label } of labels) if (episode < this.found.rows.length) this.labels.set(episode, label);
      this.rows();
      this.at(this.frame);
      notice(`${labels.length} labels.`);
    } catch (error) { notice(error.message); }
  }

  onkey(event) {
    if (!this.content || typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const sliding = event.target.closest?.("input[type=range]");
    const acts = { y: () => this.label(true, this.frame), e: () => this.label(true, null), n: () => this.label(false, null), u: () => this.unlabel(), j: () => this.open(this.number + 1), k: () => this.open(this.number - 1) };
    if (!sliding) Object.assign(acts, { ArrowLeft: () => this.at(this.frame - 1), ArrowRight: () => this.at(this.frame + 1) });
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); act(); }
  }
}
