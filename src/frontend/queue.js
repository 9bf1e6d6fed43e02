// The files that this tab is to send, one after the other: sent at once they would share the line, and none would be ready
// early. A file that fails stays in the list with its reason, and the next one is sent.

import { hideError, mayWork, showError } from "./banner.js";
import { byId, fill, iconButton, isolated, make, size } from "./dom.js";
import { Cancelled, Refused } from "./errors.js";
import { recallJson, remember } from "./memory.js";
import { onChange, redraw } from "./store.js";

const WAITING = "reel-ballers.waiting"; // titles only: no browser keeps a chosen file over a reload

// {id, title, bytes, send(), game?, error?}; `game` is what it goes on with or has begun. Without `error` it waits or is sent.
let entries = [];
let current = null;
let numbers = 0;

/** Whether a file waits or is sent. */
export const pending = () => entries.some(({ error }) => !error);

/** Whether a file of the game waits for its turn. */
export const waits = (game) => entries.some((entry) => entry.game === game && !entry.error && entry !== current);

/** Adds uploads. Each `send()` resolves when its file is stored and checked. */
export function enqueue(added) {
  hideError("upload"); // the person has gone on from there; the list still says it
  // What is chosen anew takes the place of what failed, or was left at a reload.
  const replaces = (fresh, old) => (old.game ? old.game === fresh.game : !old.send && old.title === fresh.title);
  entries = entries.filter((old) => !old.error || !added.some((fresh) => replaces(fresh, old)));
  entries.push(...added.map((entry) => Object.assign(entry, { id: `upload-${(numbers += 1)}` })));
  next();
}

function next() {
  if (!current) {
    current = entries.find(({ error }) => !error) ?? null;
    if (current) send(current);
  }
  redraw();
}

async function send(entry) {
  try {
    await entry.send();
    entries = entries.filter((other) => other !== entry);
  } catch (error) {
    entry.error = error;
    if (error instanceof Cancelled || error.told) entries = entries.filter((other) => other !== entry);
    else showError(error, { key: "upload", again: () => retry(entry), about: `“${entry.title}” was not uploaded.` });
  }
  current = null;
  next();
}

function retry(entry) {
  if (!entries.includes(entry)) return;
  entry.error = null;
  hideError("upload");
  next();
}

/** Takes uploads that wait or have failed out of the list. */
export function leave(isMeant) {
  entries = entries.filter((entry) => entry === current || !isMeant(entry));
  redraw();
}

function item(entry) {
  const { id, title, bytes, error } = entry;
  const again = error && mayWork(error)
    ? [make("button", { type: "button", class: "plain", "aria-label": `Try the upload of ${title} again`, onclick: () => retry(entry) }, "Try again")] : [];
  return make("li", { data: { testid: "upload-item", id, state: error ? "failed" : "waiting" } },
    make("span", { class: "row" }, make("span", { class: "title" }, title),
      make("span", { class: "hint", data: { state: error ? "failed" : "" } }, ...isolated(error ? error.detail || error.message : `Waiting · ${size(bytes)}`))),
    make("span", { class: "actions" }, ...again,
      iconButton("close", error ? `Remove ${title} from this list` : `Do not upload ${title}`, () => {
        if (error) hideError("upload");
        leave((other) => other === entry);
      })));
}

function draw() {
  fill(byId("upload-queue"), entries.filter((entry) => entry !== current).map(item));
  // The list of games shows what has a game.
  const lost = entries.filter(({ game }) => !game).map(({ title }) => title);
  remember("session", WAITING, lost.length ? JSON.stringify(lost) : null);
}

/** Shows which files were left when the page was loaded anew. */
export function startQueue() {
  const error = new Refused("Not uploaded: the page was loaded anew before it was finished. Choose the file again.");
  entries = (recallJson("session", WAITING) ?? []).map((title, place) => ({ id: `left-${place}`, title, error }));
  onChange(draw);
  draw();
}
