// Where an episode begins: recorded frames as small pictures, or a start of the simulator.
import { askPacked } from "./api.js";
import { h, notice } from "./dom.js";
import { bodiesOf, drawBodies, drawPicture } from "./draw.js";

const SHOWN = 16;

/** {element, show(told), simulator(missing)}: `begin` is called with what to begin with. */
export function chooser(run, begin) {
  const strip = h("div", { class: "starts", role: "group", "aria-label": "Episodes of the data" });
  const outcome = h("select", { "aria-label": "Which episodes" }, [["all", "all episodes"], ["won", "successes"], ["lost", "failures"]].map(([value, text]) => h("option", { value }, text)));
  const episode = h("input", { type: "number", min: "0", value: "0", "aria-label": "Episode" });
  const frame = h("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "Frame of the episode" });
  const preview = h("canvas", { role: "img", "aria-label": "The chosen start" });
  const said = h("p", { class: "small muted" });
  const beside = h("input", { type: "checkbox" });
  const second = h("select", { "aria-label": "Second lane" });
  const first = h("select", { "aria-label": "First lane" });
  const seed = h("input", { type: "number", min: "0", value: "1000000", "aria-label": "Seed of the simulator's start" });
  const noise = h("input", { type: "number", min: "0", value: "0", "aria-label": "Noise seed" });
  let told = null;
  let shape = null;
  let page = 0;
  let looked = 0;

  const chosen = () => told.episodes.map((each, index) => ({ ...each, index })).filter((each) => outcome.value === "all" || each.success === (outcome.value === "won"));
  const at = () => told.episodes[Number(episode.value)].start + Number(frame.value);
  const how = () => ({ beside: beside.checked, noise: Number(noise.value), drivers: [first.value, ...(second.value ? [second.value] : [])] });

  async function look() {
    const mine = ++looked;
    const each = told.episodes[Number(episode.value)];
    if (!each) return;
    frame.max = String(each.length - 1);
    said.textContent = `episode ${episode.value} (${each.source}, ${each.success ? "success" : "failure"}), frame ${frame.value} of ${each.length - 1}`;
    const found = await askPacked(`/api/runs/${run}/starts?frames=${at()}`);
    if (mine === looked) paint(preview, found, found.starts[0]);
  }

  function paint(canvas, found, start) {
    if (start.pictures.length) {
      canvas.className = "pixels";
      drawPicture(canvas, found.pictures[start.pictures[0]]);
    } else if (shape.bodies.length) drawBodies(canvas, shape, told.bounds, start.state, [], null, canvas === preview);
  }

  async function thumbnails() {
    const shown = chosen().slice(page * SHOWN, (page + 1) * SHOWN);
    strip.replaceChildren();
    if (!shown.length) return;
    const found = await askPacked(`/api/runs/${run}/starts?frames=${shown.map((each) => each.start).join(",")}`);
    strip.replaceChildren(...shown.map((each, index) => {
      const canvas = h("canvas", { role: "img", "aria-label": "" });
      const button = h("button", { type: "button", title: `${each.source}, ${each.success ? "success" : "failure"}`, onclick: () => { episode.value = String(each.index); frame.value = "0"; look().catch(fail); begin({ frame: each.start, ...how() }); } },
        canvas, `${each.index} ${each.success ? "✓" : "✗"}`);
      requestAnimationFrame(() => paint(canvas, found, found.starts[index]));
      return button;
    }));
  }
  const fail = (error) => notice(error.message);
  outcome.onchange = () => { page = 0; thumbnails().catch(fail); };
  episode.onchange = () => { episode.value = String(Math.min(told.episodes.length - 1, Math.max(0, Number(episode.value)))); frame.value = "0"; look().catch(fail); };
  frame.oninput = () => look().catch(fail);
  const turn = (by) => { page = Math.max(0, Math.min(Math.ceil(chosen().length / SHOWN) - 1, page + by)); thumbnails().catch(fail); };

  const simulator = h("div", {}, h("p", { class: "small muted" }, "A simulator is looked for once time stands still."));
  const element = h("div", {},
    h("div", { class: "bar" }, outcome, h("button", { type: "button", "aria-label": "earlier episodes", onclick: () => turn(-1) }, "‹"), h("button", { type: "button", "aria-label": "later episodes", onclick: () => turn(1) }, "›")),
    strip,
    h("label", { class: "small" }, "episode ", episode), frame, preview, said,
    h("div", { class: "bar" }, h("label", { class: "small" }, "first lane ", first), h("label", { class: "small" }, "second lane ", second)),
    h("label", { class: "small" }, "noise seed ", noise),
    simulator,
    h("div", { class: "bar" }, h("button", { type: "button", class: "main", onclick: () => begin({ frame: at(), ...how() }) }, "Begin here")));

  return {
    element,
    show(found) {
      told = found;
      shape = bodiesOf(told.states, told.bounds);
      episode.max = String(told.episodes.length - 1);
      first.replaceChildren(...["you", ...told.policies].map((who) => h("option", { value: who }, who)));
      second.replaceChildren(h("option", { value: "" }, "none"), ...["you", ...told.policies].map((who) => h("option", { value: who }, who)));
      thumbnails().catch(fail);
      look().catch(fail);
    },
    simulator(missing) {
      simulator.replaceChildren(...(missing === null
        ? [h("label", { class: "small" }, beside, "the simulator beside it, with the same actions"),
          h("div", { class: "bar" }, h("label", { class: "small" }, "or a start of the simulator ", seed),
            h("button", { type: "button", onclick: () => begin({ seed: Number(seed.value), ...how() }) }, "Begin there"))]
        : [h("p", { class: "small muted" }, `No simulator beside it: ${missing}.`)]));
    },
  };
}
