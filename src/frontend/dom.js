// Small helpers over the document.

export const byId = (id) => document.getElementById(id);

/** An element with attributes (`on…` are listeners, `data` a dataset) and children (nodes or texts). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/**
 * A sentence with each quoted name in an element of its own: an Arabic or Hebrew name, or a mark in it that turns the
 * direction, must not move the words around it.
 */
export const isolated = (text) =>
  text.split(/“([^”]*)”/).flatMap((part, place) => (place % 2 ? ["“", make("bdi", {}, part), "”"] : part));

const SVG = "http://www.w3.org/2000/svg";

/** One of the symbols of index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows a symbol only; `label` says what it does and to what. */
export const iconButton = (name, label, run, more = {}) =>
  make("button", { type: "button", class: "quiet", "aria-label": label, title: label, onclick: run, ...more }, icon(name));

let pressed = null; // what the pointer went down on, until it goes up
const late = new Map(); // list → the items that it gets when the pointer goes up

addEventListener("pointerdown", ({ button, target }) => (pressed = button === 0 ? target : null), true);
// From here on the click has its target, and its listener may draw.
addEventListener("click", () => (pressed = null), true);
for (const end of ["pointerup", "pointercancel"]) {
  // The click comes after pointerup, in the same task.
  addEventListener(end, () => setTimeout(() => {
    pressed = null;
    for (const [list, items] of late) fill(list, items);
  }), true);
}

/**
 * Replaces the items of a list that have changed, because a browser needs a third of a second to lay out 200 new ones. The
 * focus is not lost: an item that was there before is found again by `data-id`, and the control in it by its place. A list with a pressed button is replaced when the pointer goes up: a browser sends no
 * click to a button that was removed in between.
 */
export function fill(list, items) {
  if (pressed && list.contains(pressed)) {
    late.set(list, items);
    return;
  }
  late.delete(list);
  const active = document.activeElement;
  const item = list.contains(active) ? active.closest("[data-id]") : null;
  const place = item ? [...item.querySelectorAll("button, input")].indexOf(active) : -1;
  const row = item ? [...list.children].indexOf(item) : -1;
  if (list.children.length !== items.length) list.replaceChildren(...items);
  else items.forEach((next, at) => list.children[at].isEqualNode(next) || list.children[at].replaceWith(next));
  offerAll(list);
  if (!item || active.isConnected) return;
  const again = [...list.children].find((child) => child.dataset.id === item.dataset.id);
  const heir = again ?? list.children[Math.min(row, list.children.length - 1)];
  const controls = heir ? [...heir.querySelectorAll("button, input")] : [];
  (controls[again ? place : 0] ?? list.closest("section")?.querySelector("h2"))?.focus();
}

const MANY = 20; // as in parts.css, which shows the first 12 of more where the cards are in one column

function offerAll(list) {
  const all = list.children.length;
  let button = list.nextElementSibling;
  if (!button?.matches(".more")) {
    button = make("button", { type: "button", class: "plain more", "aria-controls": list.id, onclick: () => showAll(list) });
    list.after(button);
  }
  button.textContent = `Show all ${all}`;
  button.hidden = all <= MANY || list.classList.contains("all");
}

/** Shows all items of a list on a phone, too; the focus goes on with the first that was not shown. */
export function showAll(list) {
  const next = [...list.children].find((item) => !item.offsetParent);
  list.classList.add("all");
  offerAll(list);
  next?.querySelector("button:enabled, input")?.focus();
}

/** The control itself, or the one that `fill` has put in its place since; null where its item is gone. */
export function stillThere(control) {
  if (control.isConnected) return control;
  const item = control.closest("[data-id]")?.dataset;
  const now = item && document.querySelector(`[data-testid="${item.testid}"][data-id="${item.id}"]`);
  const label = control.getAttribute("aria-label");
  return [...(now?.querySelectorAll("button") ?? [])].find((button) => button.getAttribute("aria-label") === label) ?? null;
}

/** `75.3` → `1:15.30`. */
export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const hundredths = Math.round(seconds * 100);
  const minutes = Math.floor(hundredths / 6000);
  return `${minutes}:${((hundredths % 6000) / 100).toFixed(2).padStart(5, "0")}`;
}

const TIME = /^(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?|[.,]\d+)$/;

/** Full-width, Arabic and Persian digits, as keyboards of these languages write them, and their signs → ASCII. */
const inAscii = (text) => text.normalize("NFKC").replace(/[٠-٩۰-۹]/g, (digit) => digit.charCodeAt(0) & 15).replace("٫", ".");

/** `75.3`, `1:15.3` or `0:01:15,3` → 75.3; NaN for what is no time, such as `1:75`. */
export function secondsOf(text) {
  const [, hours, minutes, written] = TIME.exec(inAscii(text).trim()) ?? [];
  const seconds = Number(written?.replace(",", "."));
  if ((minutes && seconds >= 60) || (hours && minutes >= 60)) return NaN;
  return Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + seconds;
}

/** `75.3` → `1:15`. */
export function roughly(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** `1234567` → `1.2 MB`. */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return "";
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** `["A", "B", "C"]` → `A, B and C`. */
export const listed = (names) =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
