// The one place where errors are shown: each until it is tried again with success, or what failed works again.

import { status as askStatus } from "./calls.js";
import { config } from "./config.js";
import { byId, isolated, make } from "./dom.js";
import { API, Back, Cancelled, Problem, Refused, Unreachable } from "./errors.js";

const AGAIN_MS = 4000;
const FINAL = [404, 410, 413, 422]; // what is gone, too large or wrong stays so
const shown = new Map(); // key → {error, again, read}; the newest is last
const running = new Set(); // entries whose “Try again” is under way
let timer = null;

/**
 * Shows an error; a cancelled action is none. `again` carries the action out once more; one that only reads (`read`) is
 * repeated by itself while its failure may pass. `about` is a sentence that stands before the reason.
 */
export function showError(error, { key = "page", again = null, read = false, about = "" } = {}) {
  if (error instanceof Cancelled || error.told) return;
  if (!read) shown.delete(key); // what the page repeats by itself does not cover what a person has done since
  shown.set(key, { error, again, read, about });
  draw();
}

export function hideError(key) {
  if (shown.delete(key)) draw();
}

export function hideAll() {
  shown.clear();
  draw();
}

/** Whether the same attempt may work later. Otherwise what was chosen or typed has to change. */
export const mayWork = (error) => !(error instanceof Refused || FINAL.includes(error.status));

/** Whether an answer with this status shows that what failed works again. */
const worksAgain = (error, status) =>
  error instanceof Unreachable ? error.service === API : error.status === 401 && status !== 401;

/**
 * The API answered with this status. Errors that this disproves go: what only reads is asked again at once. Of a change
 * that could not reach the API, or was not let in, the page says what became of it, so that it is not lost in silence. An
 * attempt that is under way says itself how it ends.
 */
export function hearAnswer(_sync, status) {
  for (const [key, entry] of [...shown]) {
    const { error, again, read, about } = entry;
    const tried = running.has(entry);
    if (!worksAgain(error, status)) continue;
    shown.delete(key);
    if (tried) continue;
    if (read) again();
    else if (again) shown.set(key, { error: new Back(error), again, read, about });
  }
  draw();
}

let current = null;
function draw() {
  const [key, entry] = [...shown].at(-1) ?? [null, null];
  const banner = byId("error-banner");
  banner.hidden = !entry;
  // Other requests are answered meanwhile, and each answer draws: that must not put the look off again and again.
  if (reads().length || unreached()) timer ??= setTimeout(lookAgain, AGAIN_MS);
  if (entry === current) return;
  current = entry;
  if (!entry) return;
  banner.dataset.cause = causeOf(entry.error);
  const text = make("div", {}, ...(entry.about ? [make("p", {}, ...isolated(entry.about))] : []), ...words(entry));
  // A screen reader says an alert again when it is filled; what the page itself tries again every few seconds has nothing new.
  if (!entry.read || text.innerHTML !== byId("error-text").innerHTML) byId("error-text").replaceChildren(...text.childNodes);
  byId("error-again").hidden = !entry.again || !mayWork(entry.error);
  byId("error-again").disabled = running.has(entry);
  byId("error-again").onclick = () => tryAgain(entry);
  byId("error-close").onclick = () => hideError(key);
}

/** One at a time: a double click must not carry out a change twice. */
async function tryAgain(entry) {
  if (running.has(entry)) return;
  running.add(entry);
  byId("error-again").disabled = true;
  try {
    await entry.again();
  } finally {
    running.delete(entry);
    byId("error-again").disabled = false;
  }
}

const reads = () => [...shown.values()].filter(({ error, read }) => read && error.passing);
/** A change could not reach the API: whether that is still so has to be asked. */
const unreached = () => [...shown.values()].some(({ error }) => error instanceof Unreachable && error.service === API);

async function lookAgain() {
  clearTimeout(timer);
  timer = null;
  if (reads().length) reads().forEach(tryAgain);
  else if (unreached()) await askStatus().catch(() => {}); // hearAnswer hears an answer
  draw();
}
addEventListener("online", lookAgain);

const causeOf = (error) =>
  error instanceof Unreachable || error instanceof Back ? error.cause : error instanceof Problem ? (error.status >= 500 ? "server" : "refused") : "page";

function words({ error, read }) {
  if (error instanceof Unreachable) return [make("strong", {}, `${error.message}.`), ...unreachable(error, read)];
  if (error instanceof Back) return [make("strong", {}, error.message), make("p", {}, error.hint)];
  if (!(error instanceof Problem)) return [make("strong", {}, ...isolated(sentence(error.message)))];
  if (error.status === 401) return [make("strong", {}, "This app is private."), make("p", {}, "Try again, and type the access token that you were given.")];
  const [title, detail] = error.status >= 500 ? [`The server had a problem (${error.status})`, error.detail || error.message]
    : error.detail ? [error.title || "The server refused this", error.detail] : [error.message, ""];
  const lines = [make("strong", {}, sentence(title))];
  if (detail) lines.push(make("p", {}, ...isolated(sentence(detail.replace(/^body\.\w+/, fieldName)))));
  if (error.fields.length) {
    lines.push(make("ul", { "aria-label": "Fields" },
      ...error.fields.map(({ field, message }) => make("li", {}, `${fieldName(field)}: ${message}`))));
  }
  return lines;
}

const sentence = (text) => (/[.!?…]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`);

/** `body.clip_ids` → `clip ids`. */
const fieldName = (field) => field.replace(/^[a-z]+\./, "").replaceAll("_", " ");

function unreachable({ cause, origin, service }, read) {
  const text = (words) => make("p", {}, words);
  const { api, r2, ca } = config();
  if (cause === "offline") return [text("What you typed stays here. Try again when the connection is back.")];
  if (cause === "cors") {
    // Fly's proxy answers without headers of CORS while no Machine runs: a browser cannot tell that apart.
    const rule = service === API ? "CORS_ORIGINS of the API" : "the CORS rule of the bucket";
    const other = service === API ? ", or no Machine of the API runs" : "";
    return [text(`${origin} is there, but ${rule} does not allow ${location.origin}${other}. This has to be set on the server.`)];
  }
  if (cause === "certificate") {
    const open = [["API", `${api}/api/health`], ["R2", r2]].filter(([, url]) => url);
    return [
      text("This stack has a certificate of its own. Open each address once and accept it, then try again:"),
      make("ul", { "aria-label": "Addresses" }, ...open.map(([name, url]) =>
        make("li", {}, `${name}: `, make("a", { href: url, target: "_blank", rel: "noopener" }, url)))),
      make("p", {}, "Or add ", make("code", {}, ca), " of the checkout to the certificate authorities of the browser. "
        + "If it is trusted already, ", make("code", {}, "parity status"), " says what is not running."),
    ];
  }
  if (cause === "down") return [text(`There is no usable answer from ${origin}. It may be starting or out of order.`)];
  if (cause === "slow") return [text(`There was no answer from ${origin} within two minutes. ${read ? "Try again." : "What you did may still be carried out. Look before you try again."}`)];
  return [text(`It can be reached again by now. ${read ? "Try again." : "What you did may have been carried out. Look before you try again."}`)];
}

/**
 * Runs an action for a control: disabled meanwhile, errors shown with “Try again”. Returns undefined after an error.
 * `key` is what the error belongs to: the next success of the same key takes it away.
 */
export async function guarded(control, action, { key = control?.id || "page", read = false } = {}) {
  const focused = control && document.activeElement === control;
  if (control) control.disabled = true;
  try {
    const made = await action();
    hideError(key);
    return made;
  } catch (error) {
    showError(error, { key, again: () => guarded(control, action, { key, read }), read });
    return undefined;
  } finally {
    if (control) control.disabled = false;
    if (focused && document.activeElement === document.body) control.focus();
  }
}
