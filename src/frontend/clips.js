// Clips: marked in the player or by numbers, cut on the server.

import { guarded, showError } from "./banner.js";
import { changeClip, createClip, deleteClip, extractClip } from "./calls.js";
import { confirmDelete } from "./dialogs.js";
import { byId, clock, count, fill, iconButton, isolated, listed, make, secondsOf } from "./dom.js";
import { Problem } from "./errors.js";
import { profileId } from "./identity.js";
import { frameRate, jumpTo, play, playing, shownFrame } from "./player.js";
import { change, clipOf, data, gameOf, load, turn } from "./store.js";
import { drawMarked, drawTimeline } from "./timeline.js";
import { isTyped, saved, typed } from "./typed.js";

const FIELDS = ["start", "end"];

let editing = null; // the id of the clip in the form
const exact = {}; // the time that a button took from the player, by field, with the text that it wrote

export function drawClips({ clips }) {
  byId("clip-empty").hidden = !clips || clips.length > 0;
  byId("clip-list").setAttribute("aria-busy", String(clips === null));
  fill(byId("clip-list"), (clips ?? []).map(item));
  if (editing && clips && !clipOf(editing)) leave();
}

const STATES = { new: "not cut yet", processing: "being cut …", ready: "", failed: "failed" };

function item(clip) {
  const title = make("span", { class: "title" }, clip.name);
  const state = STATES[clip.status] ? ` · ${STATES[clip.status]}${clip.reason ? `: ${clip.reason}` : ""}` : "";
  const game = gameOf(clip.game_id)?.name ?? "";
  const [start, end] = FIELDS.map((field) => frameAt(clip[field], clip.game_id));
  const times = `${clock(start)} – ${clock(end)}${state}`;
  const facts = make("span", { class: "facts" },
    make("span", { class: "hint" }, times),
    make("span", { class: "hint from" }, game));
  const body = clip.status === "ready"
    ? make("button", { type: "button", class: "row", "aria-label": `Watch ${clip.name}, ${times}, ${game}`,
        onclick: () => play({ game: clip.game_id, clip: clip.id }) }, title, facts)
    : make("span", { class: "row" }, title, facts);
  const actions = [
    iconButton("pencil", `Edit ${clip.name}`, () => edit(clip.id)),
    iconButton("trash", `Delete ${clip.name}`, () => remove(clip)),
  ];
  if (clip.status === "failed" || clip.status === "new") {
    actions.unshift(make("button", { type: "button", class: "plain", "aria-label": `Cut ${clip.name}`,
      onclick: (event) => guarded(event.currentTarget, () => change(() => extractClip(clip.id), "clips"), { key: `clip ${clip.id}` }) }, "Cut"));
  }
  return make("li", { class: editing === clip.id ? "chosen" : "",
    data: { testid: "clip-item", id: clip.id, status: clip.status, start: clip.start, end: clip.end } },
    body, make("span", { class: "actions" }, ...actions));
}

async function remove(clip, news = []) {
  const isNewest = turn("question"); // a click on another item meanwhile counts
  const known = await guarded(null, async () => (await load("reels"), true), { key: `clip ${clip.id}` });
  if (!known || !isNewest()) return;
  const reels = data.reels.filter((reel) => reel.clip_ids.includes(clip.id));
  const lost = reels.length ? [`It is taken out of ${listed(reels.map(({ name }) => `“${name}”`))}.`, "Finished exports stay."] : [];
  if (!(await confirmDelete(`the clip “${clip.name}”`, [...news, ...lost]))) return;
  try {
    await change(() => deleteClip(clip.id, { cascade: reels.length > 0 }), "clips", "reels");
  } catch (error) {
    // A reel has it by now: say so, and ask again.
    if (error instanceof Problem && error.status === 409 && !reels.length) await remove(clip, [error.message]);
    else showError(error, { key: `clip ${clip.id}`, again: () => remove(clip) });
  }
}

/** When the frame that is shown at a time begins: a cut takes the nearest one, so the second half would be the next. */
function frameAt(seconds, game) {
  const rate = frameRate(game);
  return rate ? Math.floor(seconds * rate + 1e-3) / rate : seconds;
}

function write(field, seconds) {
  const input = byId(`clip-${field}`);
  input.value = String(Math.round(seconds * 1000) / 1000);
  exact[field] = { text: input.value, seconds };
  drawLength();
}

/** The time to send for a field: of the frame that a button took, or of the one that is shown at the typed time. */
function timeOf(field, game) {
  const { value } = byId(`clip-${field}`);
  return exact[field]?.text === value ? exact[field].seconds : frameAt(secondsOf(value), game);
}

function mark(field) {
  const { at, lasts } = shownFrame();
  // The end is where the shown frame ends: it belongs to the clip.
  write(field, field === "start" ? at : at + lasts);
  typed(byId("clip-form"), "clip");
  byId(`clip-${field}`).focus();
}

const typedTime = (field) => secondsOf(byId(`clip-${field}`).value);

function drawLength() {
  const [start, end] = FIELDS.map(typedTime);
  const { duration, frame_rate: rate } = gameOf(gameInForm()) ?? {};
  const frames = rate ? ` · ${count(Math.round((end - start) * rate), "frame")}` : "";
  drawMarked(start, end);
  const wrong = Object.fromEntries(FIELDS.map((field) => [field, wrongTime(typedTime(field), duration, rate)]));
  wrong.end ||= end > start || wrong.start ? "" : "The end must come after the start";
  for (const field of FIELDS) byId(`clip-${field}`).setCustomValidity(wrong[field]);
  byId("clip-length").textContent = wrong.start || wrong.end || `${clock(end - start)}${frames}`;
}

function wrongTime(seconds, duration, rate) {
  if (Number.isNaN(seconds)) return "Write seconds or minutes:seconds, such as 75.3 or 1:15.3";
  // The last frame may end a little after the time that the container names.
  return seconds > duration + 1 / (rate || 1) ? `The game ends at ${clock(duration)}` : "";
}

const gameInForm = () => (editing ? clipOf(editing)?.game_id : playing()?.game) ?? null;

function edit(id) {
  const clip = clipOf(id);
  editing = id;
  saved(byId("clip-form"));
  byId("clip-form").dataset.editing = id;
  byId("clip-name").value = clip.name;
  for (const field of FIELDS) write(field, frameAt(clip[field], clip.game_id));
  byId("clip-create").textContent = "Save clip";
  byId("clip-cancel").hidden = false;
  byId("clip-form-title").replaceChildren(...isolated(`Edit “${clip.name}”`));
  drawClips(data);
  const at = Number(byId("clip-start").value);
  play({ game: clip.game_id }, { at: at + shownFrame().lasts / 2 });
  byId("clip-name").focus();
  byId("clip-form-title").scrollIntoView({ block: "nearest" }); // what is edited, and its times, on a phone too
}

function leave() {
  editing = null;
  saved(byId("clip-form"));
  delete byId("clip-form").dataset.editing;
  byId("clip-name").value = "";
  byId("clip-create").textContent = "Cut clip";
  byId("clip-cancel").hidden = true;
  byId("clip-form-title").textContent = "New clip";
  drawClips(data);
}

/** Another game plays: the form is about that one. */
export function formFor(current) {
  const game = current && gameOf(current.game);
  drawTimeline(game?.duration, data.clips?.filter((clip) => clip.game_id === game?.id));
  byId("clip-controls").disabled = !game;
  byId("clip-form").hidden = !game;
  // A game has no length before its upload is finished.
  if (game?.duration && typedTime("end") > game.duration && !isTyped(byId("clip-form"))) write("end", Math.floor(game.duration * 10) / 10);
  drawLength();
}

async function save() {
  const game = gameOf(gameInForm());
  if (!game) throw new Error("Choose a game first: a clip is cut from it.");
  const options = { profile: profileId() };
  const [name, id] = [byId("clip-name").value.trim(), editing];
  const before = editing && clipOf(editing);
  const touched = FIELDS.filter((field) => !before || byId(`clip-${field}`).value !== String(Math.round(frameAt(before[field], game.id) * 1000) / 1000));
  const times = Object.fromEntries(touched.map((field) => [field, Math.min(timeOf(field, game.id), game.duration)]));
  await change(async () => {
    const clip = before
      ? await changeClip(before.id, { name, ...times }, options)
      : await createClip({ game_id: game.id, name, ...times }, options);
    if (clip.status === "new") await extractClip(clip.id, options);
  }, "clips");
  // What was typed meanwhile is the next clip.
  if (editing === id && byId("clip-name").value.trim() === name) leave();
}

export function startClips() {
  for (const field of FIELDS) {
    byId(`clip-${field}-now`).addEventListener("click", () => mark(field));
    byId(`clip-${field}`).addEventListener("input", drawLength);
    byId(`clip-${field}-show`).addEventListener("click", () => {
      const at = timeOf(field, gameInForm());
      jumpTo(field === "start" ? at : Math.max(0, at - shownFrame().lasts));
    });
  }
  byId("clip-cancel").addEventListener("click", leave);
  byId("clip-form").addEventListener("input", () => typed(byId("clip-form"), "clip"));
  byId("clip-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(byId("clip-create"), save);
  });
}

/** Another profile's clip is not edited in this one. */
export const forgetClips = () => leave();
