// Elements from data: text only ever becomes text.

/** An element with attributes (functions become listeners) and children (elements, or what becomes text). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (selector, within = document) => within.querySelector(selector);

/** Say something to the person, for some seconds. */
export function notice(text, seconds = 6) {
  const said = h("p", {}, text);
  $("#notice").append(said);
  while ($("#notice").children.length > 4) $("#notice").firstChild.remove();
  setTimeout(() => said.remove(), 1000 * seconds);
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(1000 * value) / 10} %`);

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

export const short = (value) => (Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3))).toString();

/** A command to be copied. */
export function command(text) {
  const copy = h("button", { type: "button", onclick: () => navigator.clipboard?.writeText(text).then(() => notice("Copied.", 2)) }, "Copy");
  return h("div", { class: "command" }, h("pre", {}, text), copy);
}

/** Whether keys are meant for a field and not for the page. */
export const typing = (event) => event.target.closest?.("input:not([type=range]):not([type=checkbox]), select, textarea") !== null;
