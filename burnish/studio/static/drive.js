// Driving: what is imagined (and what is real) under somebody's hand, the strip below it, and everything to steer by.
import { Socket, ask, askPacked } from "./api.js";
import { address } from "./app.js";
import { figure } from "./chart.js";
import { $, command, h, notice, short, typing } from "./dom.js";
import { bodiesOf, drawBars, drawBodies, drawPicture } from "./draw.js";
import { Inputs, keysOf, shownKey } from "./inputs.js";
import { chooser } from "./starts.js";

const WINDOW = 200;
const TRAIL = 80;
const COLOURS = ["--blue", "--orange"];
const KEPT = 5000;
const YOU = "you";

const steps = (from, to) => Array.from({ length: Math.max(0, to - Math.max(0, from) + 1) }, (_, index) => Math.max(0, from) + index);

/** Note a step's `value`; forget what lies beyond `last` (it was rewound and driven anew), and the oldest of too many. */
function keep(map, step, value, last, most) {
  if (map.last > last) for (const known of [...map.keys()]) if (known > last) map.delete(known);
  map.last = last;
  map.delete(step);
  map.set(step, value);
  if (map.size > most) map.delete(map.keys().next().value);
}

export default async function drive(main, query) {
  const listed = ask("/api/runs").then((found) => found.runs);
  let key = query.get("run");
  if (!key) {
    const runs = await listed;
    key = runs.find((run) => run.report)?.id ?? runs[0]?.id;
  }
  if (!key) {
    main.append(h("h1", {}, "Drive"), h("p", {}, "There is no run to drive in yet: burnish demo makes one."));
    return null;
  }
  const page = new Page(main, key, query.get("replay") === "1");
  page.glimpse();
  listed.then((runs) => page.others(runs), (error) => notice(error.message));
  return () => page.leave();
}

class Page {
  constructor(main, key, replay) {
    Object.assign(this, { key, replay, seq: 0, frame: null, told: null, lanes: [], delays: [], pending: null, last: YOU });
    this.choose = h("select", { "aria-label": "Run", onchange: () => { location.hash = address("drive", { run: this.choose.value }); } });
    this.status = h("p", { class: "muted", role: "status", id: "status" }, "The model is being loaded …");
    this.body = h("div");
    main.append(h("div", { class: "bar" }, h("h1", {}, "Drive"), this.choose), this.status, this.body);
    this.socket = new Socket((frame) => this.onframe(frame), (message) => this.onmessage(message), (open) => {
      if (open) this.socket.send({ do: "open", run: key });
      else this.status.textContent = "The studio does not answer; trying again …";
    });
    this.keys = (event) => this.onkey(event);
    addEventListener("keydown", this.keys);
  }

  /** The start as it was recorded, until the model is there. */
  async glimpse() {
    const found = await askPacked(`/api/runs/${this.key}/glimpse`).catch(() => null);
    if (!found || this.told || this.gone) return;
    const drawing = h("canvas", { role: "img", "aria-label": "the recorded start", class: found.picture ? "pixels" : "" });
    const pane = h("section", { class: "pane" }, h("h3", {}, "Recorded · where you will begin"), drawing);
    this.body.replaceChildren(h("div", { class: "drive" }, h("div", {}, h("div", { class: "panes", id: "glimpse" }, pane))));
    if (found.picture) drawPicture(drawing, found.pictures[0]);
    else {
      const shape = bodiesOf(found.states, found.bounds);
      if (shape.bodies.length) drawBodies(drawing, shape, found.bounds, found.state);
      else drawBars(drawing, shape, found.states, found.bounds, found.state);
    }
  }

  others(runs) {
    this.choose.replaceChildren(...runs.map((run) => h("option", { value: run.id, selected: run.id === this.key }, run.name)));
  }

  leave() {
    this.gone = true;
    this.inputs?.stop();
    removeEventListener("keydown", this.keys);
    this.socket.close();
  }

  send(what, more = {}) { this.socket.send({ do: what, ...more }); }

  onmessage(message) {
    if (message.type === "opened") this.opened(message);
    else if (message.type === "began") this.began(message);
    else if (message.type === "simulator") this.chooser?.simulator(message.missing);
    else if (message.type === "saved") this.saved(message);
    else if (message.type === "parked") this.status.textContent = "Another page drives another run; touch a key to drive here again.";
    else if (message.type === "error") {
      notice(message.text, 12);
      if (message.do === "open") this.status.textContent = message.text;
    }
  }

  opened(told) {
    this.told = told;
    this.shape = bodiesOf(told.states, told.bounds);
    this.seq = 0;
    this.inputs?.stop();
    this.inputs = new Inputs(told.actions.length, (action, held, event) => this.wanted(action, held, event), (button) => this.onbutton(button));
    this.build();
    this.began(told);
    this.chooser.show(told);
    if (this.replay) this.send("replay");
    this.replay = false;
  }

  began(found) {
    this.begin = found.begin;
    this.lanes = found.lanes.map((lane) => {
      return { driver: lane.driver, history: new Map(lane.history.map((step) => [step.step, step])), trails: { imagined: new Map(), real: new Map() } };
    });
    this.panes();
    const { frame, seed, episode, at, beside } = found.begin;
    const where = frame === null ? `simulator start ${seed}` : `episode ${episode} of the data, frame ${at}`;
    this.where.textContent = `${this.told.task} · ${this.told.model} · from ${where}${beside ? " · beside the simulator" : ""}`;
  }

  // What is there.

  build() {
    const { told } = this;
    const slow = told.step_seconds * told.fps;
    this.status.textContent = slow > 1
      ? `One imagined step takes ${short(told.step_seconds)} s on this machine: it runs at ${short(1 / told.step_seconds)} of the data's ${short(told.fps)} steps a second.`
      : "Ready: hold a key to drive. Time stands still while you hold none.";
    this.where = h("p", { class: "muted small" });
    this.grid = h("div", { class: "panes", id: "stage", tabindex: "0", role: "group", "aria-label": "What is imagined; arrow keys and letters drive" });
    this.strip = h("div", { class: "strip" });
    this.stats = h("p", { class: "stats", id: "stats" });
    this.play = h("button", { type: "button", class: "main", onclick: () => this.toggle() }, "Play");
    this.scrub = h("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "Step shown", oninput: () => this.send("rewind", { to: Number(this.scrub.value) }) });
    this.at = h("span", { class: "small", id: "step" }, "step 0");
    const speed = h("select", { "aria-label": "Speed", onchange: () => this.send("speed", { factor: Number(speed.value) }) },
      [0.25, 0.5, 1, 2, 4].map((factor) => h("option", { value: factor, selected: factor === told.speed }, `${factor}×`)));
    this.drivers = h("div", { class: "bar", role: "group", "aria-label": "Who drives" },
      [YOU, ...told.policies].map((who) => h("button", { type: "button", "data-driver": who, onclick: () => this.hand(who) }, who === YOU ? "You" : who)));
    this.chooser = chooser(this.key, (begin) => this.send("begin", begin));
    this.savedAs = h("div");
    this.body.replaceChildren(
      this.where,
      h("div", { class: "drive" },
        h("div", {},
          this.grid,
          h("div", { class: "bar" }, this.play,
            h("button", { type: "button", title: "one step back ( , )", onclick: () => this.back() }, "◂ Step"),
            h("button", { type: "button", title: "one step on ( . )", onclick: () => this.send("step") }, "Step ▸"),
            h("button", { type: "button", title: "to the start ( Home )", onclick: () => this.send("rewind", { to: 0 }) }, "Rewind"),
            h("button", { type: "button", title: "the same start anew", onclick: () => this.again() }, "Reset"), speed, this.at),
          this.scrub, this.strip, this.stats),
        h("div", { class: "side" },
          h("h2", {}, "Who drives"), this.drivers,
          h("p", { class: "small muted" }, h("kbd", {}, "P"), " hands over to the policy and takes it back; so does holding a key. ",
            h("kbd", {}, "Space"), " plays and pauses, ", h("kbd", {}, ","), " and ", h("kbd", {}, "."), " step."),
          h("h2", {}, "Actions"), this.sliders(),
          h("details", { open: innerWidth > 900 }, h("summary", {}, "Where it begins"), this.chooser.element),
          h("details", {}, h("summary", {}, "Save this drive"), this.saver(), this.savedAs))),
    );
  }

  sliders() {
    const rows = this.told.actions.map((name, dimension) => {
      const pair = keysOf(dimension);
      const value = h("span", { class: "value" }, "0");
      const slider = h("input", { type: "range", min: "-1", max: "1", step: "0.05", value: "0", "aria-label": name });
      const slide = (dragged) => (event) => this.inputs.slide(dimension, Number(slider.value), dragged, event);
      slider.addEventListener("input", slide(true));
      for (const end of ["change", "pointerup", "keyup", "blur"]) slider.addEventListener(end, slide(false));
      slider.addEventListener("dblclick", (event) => { slider.value = "0"; slide(false)(event); });
      const keys = pair ? [h("kbd", { "data-key": pair[0] }, shownKey(pair[0])), " ", h("kbd", { "data-key": pair[1] }, shownKey(pair[1])), " "] : [];
      return h("div", { class: "control", "data-dimension": String(dimension) }, h("span", {}, h("span", {}, ...keys, name), value), slider);
    });
    const strength = h("input", { type: "range", min: "0.1", max: "1", step: "0.1", value: "1", "aria-label": "Strength of the keys", oninput: () => { this.inputs.strength = Number(strength.value); } });
    return h("div", { id: "actions" }, rows, h("div", { class: "control" }, h("span", { class: "muted" }, "strength of the keys"), strength));
  }

  saver() {
    const field = h("input", { type: "text", "aria-label": "Name of the drive", value: `drive-${new Date().toISOString().slice(0, 19).replaceAll(/[:T]/g, "-")}`, maxlength: "60", size: "22" });
    return h("div", {},
      h("p", { class: "small muted" }, "Up to the step that is shown, as a LeRobot data set: what was imagined is marked so, and no run learns from it; what the simulator did beside it is saved on its own."),
      h("div", { class: "bar" }, field, h("button", { type: "button", onclick: () => this.send("save", { name: field.value }) }, "Save")));
  }

  saved(message) {
    this.savedAs.replaceChildren(
      h("p", { class: "small" }, `${message.frames} frames: ${message.path}${message.real ? " (imagined and real)" : " (imagined)"}. What is on the screen, once more:`),
      command(`burnish studio '${this.told.folder.replaceAll("'", "'\\''")}' --drive '${message.path.replaceAll("'", "'\\''")}'`));
    notice(`Saved ${message.name}.`);
  }

  panes() {
    const real = this.begin.beside;
    this.views = this.lanes.flatMap((lane, number) => ["imagined", ...(real ? ["real"] : [])].map((where) => this.pane(number, where)));
    this.grid.classList.toggle("pairs", real);
    this.grid.replaceChildren(...this.views.map((view) => view.element));
    const charts = { probability: "P(success), by the classifier" };
    for (const name of Object.keys(this.told.thresholds)) if (name !== "probability") charts[name] = `${name}, in thresholds`;
    if (this.told.thresholds.probability === undefined) delete charts.probability;
    charts.reward = "reward";
    if (real) charts.gap = this.told.pictures ? "gap to the simulator (RMS of pixels)" : "gap to the simulator (in standard deviations)";
    this.charts = Object.entries(charts).map(([name, title]) => [name, figure(title, h)]);
    this.strip.replaceChildren(...this.charts.map(([, chart]) => chart.element));
  }

  pane(number, where) {
    const title = h("span", {});
    const told = h("span", { class: "tag" });
    told.hidden = true;
    const drawing = h("canvas", { role: "img", "aria-label": `${where}, lane ${number + 1}`, class: this.told.pictures ? "pixels" : "" });
    const bars = h("canvas", { role: "img", "aria-label": `other dimensions, ${where}` });
    const others = this.told.pictures || !this.shape.rest.length ? null : h("details", { open: !this.shape.bodies.length }, h("summary", { class: "small" }, "Joints and the rest"), bars);
    const camera = h("canvas", { role: "img", class: "camera", "aria-label": "the simulator's camera" });
    camera.hidden = true;
    const look = where === "real" ? h("label", { class: "small" }, h("input", { type: "checkbox", onchange: (event) => this.send("camera", { on: event.target.checked }) }), "camera") : null;
    const element = h("section", { class: "pane", "data-where": where, "data-lane": String(number) }, h("h3", {}, title, told, look), drawing, camera, others);
    return { number, where, element, title, told, drawing, bars, others, camera, more: [] };
  }

  // What happens.

  wanted(action, held, event) {
    this.seq = Math.max(this.seq, this.frame?.seq ?? 0) + 1;
    this.send("input", { seq: this.seq, action, on: held });
    if (held && event?.timeStamp && !document.hidden) this.pending ??= { seq: this.seq, since: event.timeStamp, step: this.frame?.step };
    for (const key of document.querySelectorAll("#actions kbd")) key.classList.toggle("held", this.inputs.keys.has(key.dataset.key));
    const { units } = this.told;
    action.forEach((value, dimension) => {
      const shown = units ? units[0][dimension] + ((value + 1) / 2) * (units[1][dimension] - units[0][dimension]) : value;
      $(`[data-dimension="${dimension}"] .value`, this.body).textContent = short(shown);
    });
  }

  onkey(event) {
    if (!this.told || typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = event.target.closest?.("button, summary, a, input");
    if (event.code === "Space" && !button) { event.preventDefault(); this.toggle(); }
    else if (event.key === ".") this.send("step");
    else if (event.key === ",") this.back();
    else if (event.key === "Home" && !event.target.closest?.("input")) { event.preventDefault(); this.send("rewind", { to: 0 }); }
    else if (event.key === "p" || event.key === "P") this.handOver();
  }

  /** Buttons of a standard gamepad: A, B, the shoulders, and the left one in the middle. */
  onbutton(button) {
    if (button === 0) this.handOver();
    else if (button === 1) this.toggle();
    else if (button === 4) this.back();
    else if (button === 5) this.send("step");
    else if (button === 8) this.send("rewind", { to: 0 });
  }

  handOver() { this.hand(this.lanes[0].driver === YOU ? this.policy() : YOU); }

  policy() {
    const known = this.told.policies;
    return known.includes(this.last) ? this.last : known.includes("refined") ? "refined" : known.at(-1) ?? YOU;
  }

  toggle() { this.send("play", { on: !this.frame?.playing }); }
  back() { this.send("rewind", { to: Math.max(0, (this.frame?.step ?? 0) - 1) }); }
  again() {
    const { frame, seed, noise, beside } = this.begin;
    this.send("begin", { frame, seed, noise, beside, drivers: this.lanes.map((lane) => lane.driver) });
  }

  hand(who) {
    if (who !== YOU) this.last = who;
    this.send("driver", { lane: 0, driver: who });
    if (who !== YOU && !this.frame?.playing) this.send("play", { on: true });
    if (who === YOU) this.send("play", { on: false });
  }

  onframe(frame) {
    if (this.gone || !this.told || frame.run !== this.key || frame.lanes.length !== this.lanes.length) return;
    this.frame = frame;
    frame.lanes.forEach((now, number) => {
      const lane = this.lanes[number];
      lane.driver = now.driver;
      // Of the past only numbers are kept (and where it was, for a while), and not for ever.
      keep(lane.history, now.step, { ...now, imagined: null, real: null }, frame.length, KEPT);
      for (const where of ["imagined", "real"]) if (now[where]?.state) keep(lane.trails[where], now.step, now[where].state, frame.length, TRAIL + 1);
    });
    this.draw();
    const waited = this.pending;
    if (waited && frame.seq >= waited.seq && frame.step !== waited.step) {
      this.pending = null;
      this.delays.push(performance.now() - waited.since);
      if (this.delays.length > 500) this.delays.shift();
    }
    this.figures();
  }

  draw() {
    const { frame, shape } = this;
    const { bounds } = this.told;
    for (const view of this.views) {
      const now = frame.lanes[view.number];
      const seen = now[view.where];
      if (!seen) continue;
      const lane = this.lanes[view.number];
      const success = view.where === "real" ? now.real_success : now.success;
      view.title.textContent = `${view.where === "real" ? "Simulator" : "Imagined"} · ${now.driver === YOU ? "you" : now.driver}`;
      view.told.hidden = !(success || seen.over || (view.where === "imagined" && now.over));
      view.told.className = `tag ${success ? "good" : "bad"}`;
      view.told.textContent = success ? "success" : seen.over ?? "beyond the data: refinement ends here";
      view.element.classList.toggle("over", view.where === "imagined" && now.over);
      if (seen.state) {
        const ghost = view.where === "imagined" ? now.real?.state ?? null : now.imagined.state ?? null;
        const trail = steps(now.step - TRAIL, now.step).map((step) => lane.trails[view.where].get(step)).filter(Boolean);
        if (shape.bodies.length) drawBodies(view.drawing, shape, bounds, seen.state, trail, ghost);
        else view.drawing.hidden = true;
        if (view.others?.open) drawBars(view.bars, shape, this.told.states, bounds, seen.state, ghost);
      }
      seen.pictures.forEach((index, place) => {
        if (place && !view.more[place]) view.drawing.after(view.more[place] = h("canvas", { class: "pixels" }));
        drawPicture(place ? view.more[place] : view.drawing, frame.pictures[index]);
      });
      view.camera.hidden = seen.camera === undefined;
      if (seen.camera !== undefined) drawPicture(view.camera, frame.pictures[seen.camera]);
    }
    const to = Math.max(frame.step, 1);
    const from = Math.max(0, to - WINDOW);
    const shown = steps(from, to);
    const marks = shown.filter((step) => this.lanes[0].history.get(step)?.over);
    for (const [name, chart] of this.charts) {
      const threshold = this.told.thresholds[name] ?? null;
      const curves = this.lanes.map((lane, number) => ({ values: shown.map((step) => lane.history.get(step)?.[name]), colour: COLOURS[number] }));
      const now = frame.lanes.map((lane) => (lane[name] === null || lane[name] === undefined ? "–" : short(lane[name]))).join(" | ");
      const limits = name === "probability" ? { low: 0, high: 1 } : {};
      chart.show(curves, { from, to, threshold, marks, ...limits }, threshold === null || name !== "probability" ? now : `${now} (from ${short(threshold)})`);
    }
    this.play.textContent = frame.playing ? "Pause" : "Play";
    this.scrub.min = String(frame.earliest);
    this.scrub.max = String(frame.length);
    if (document.activeElement !== this.scrub || frame.playing) this.scrub.value = String(frame.step);
    this.at.textContent = `step ${frame.step}${frame.length > frame.step ? ` of ${frame.length}` : ""}`;
    for (const button of this.drivers.children) button.setAttribute("aria-pressed", String(button.dataset.driver === frame.lanes[0].driver));
  }

  figures() {
    // How fast pictures come while time runs: pauses are not counted.
    const now = performance.now();
    const since = now - (this.drawn ?? 0);
    this.drawn = now;
    if (since < 500) this.spacing = this.spacing ? this.spacing + 0.05 * (since - this.spacing) : since;
    const sorted = [...this.delays].sort((a, b) => a - b);
    const at = (share) => (sorted.length ? `${Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))])} ms` : "–");
    this.stats.textContent = `key press to picture: median ${at(0.5)}, 95 % below ${at(0.95)} (${sorted.length} presses) · ${this.spacing ? Math.round(1000 / this.spacing) : "–"} pictures a second · one step takes ${this.frame.step_ms} ms`;
  }
}

