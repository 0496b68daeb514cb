// Which page is shown: what stands behind # in the address says it all.
import { $, h } from "./dom.js";

const PAGES = { runs: "./runs.js", compare: "./compare.js", drive: "./drive.js", episodes: "./episodes.js", data: "./data.js" };
let leave = null;
let turn = 0;

/** Go to a page; `query` names what it shows. */
export function address(page, query = {}) {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined));
  return `#${page}${said.size ? "?" + said : ""}`;
}

async function show() {
  const mine = ++turn;
  leave?.();
  leave = null;
  const [page, query] = location.hash.slice(1).split("?");
  const name = page in PAGES ? page : "runs";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = $("#main");
  try {
    const module = await import(PAGES[name]);
    if (mine !== turn) return;
    const inside = h("div");
    main.replaceChildren(inside);
    const left = await module.default(inside, new URLSearchParams(query ?? ""));
    if (mine === turn) leave = left ?? null;
    else left?.();
  } catch (error) {
    if (mine === turn) main.replaceChildren(h("h1", {}, "This cannot be shown"), h("p", { class: "problem" }, error.message));
  }
}

const { view } = document.body.dataset;
const hash = location.hash || (view ? `#${view}` : "");
// The token, which a cookie keeps, is no part of an address that somebody may pass on.
history.replaceState(null, "", location.pathname + hash);
addEventListener("hashchange", show);
show();
