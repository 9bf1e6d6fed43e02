// Reels (projects): which clips, in which order, how they look.

import { guarded } from "./banner.js";
import { changeProject, createProject, deleteProject } from "./calls.js";
import { confirmDelete } from "./dialogs.js";
import { byId, count, fill, iconButton, isolated, make, roughly, showAll } from "./dom.js";
import { change, clipOf, data, reelOf } from "./store.js";
import { saved, typed } from "./typed.js";

let editing = null; // the id of the reel in the form
let order = [];
const left = new Set(); // clips that are not wanted
let picking = false; // none was chosen: a clip that comes meanwhile is not wanted either
const LOOK = { overlay_text: "overlay-text", aspect: "aspect", quality: "quality", transition: "transition" };

export function drawReels({ clips, reels }) {
  drawOrder(clips ?? []);
  byId("order-empty").hidden = !clips || clips.length > 0;
  byId("reel-empty").hidden = !reels || reels.length > 0 || !clips?.length;
  byId("reel-list").setAttribute("aria-busy", String(reels === null));
  fill(byId("reel-list"), (reels ?? []).map(item));
  const select = byId("project-select");
  const before = select.value;
  const full = (reel) => reel.clip_ids.length > 0;
  select.replaceChildren(...(reels ?? []).map((reel) =>
    make("option", { value: reel.id, disabled: !full(reel) }, full(reel) ? reel.name : `${reel.name} (no clips)`)));
  if (reels?.some((reel) => reel.id === before && full(reel))) select.value = before;
  byId("export-form").hidden = !reels?.length;
  byId("export-none").hidden = !reels || reels.length > 0;
  if (editing && reels && !reelOf(editing)) leave();
}

function item(reel) {
  const seconds = reel.clip_ids.reduce((sum, id) => sum + (clipOf(id)?.duration ?? 0), 0);
  const { aspect, quality, overlay_text: text } = reel.options;
  const clips = reel.clip_ids.length ? `${count(reel.clip_ids.length, "clip")}, ${roughly(seconds)}` : "no clips";
  const facts = [clips, aspect, quality, ...(text ? [`“${text}”`] : [])].join(" · ");
  return make("li", { class: editing === reel.id ? "chosen" : "", data: { testid: "reel-item", id: reel.id } },
    make("span", { class: "row" }, make("span", { class: "title" }, reel.name), make("span", { class: "hint" }, ...isolated(facts))),
    make("span", { class: "actions" },
      iconButton("pencil", `Edit ${reel.name}`, () => edit(reel.id)),
      iconButton("trash", `Delete ${reel.name}`, () => remove(reel))));
}

async function remove(reel) {
  if (!(await confirmDelete(`the reel “${reel.name}”`, ["Its clips and its finished exports stay."]))) return;
  await guarded(null, () => change(() => deleteProject(reel.id), "reels"), { key: `reel ${reel.id}` });
}

function drawOrder(clips) {
  const known = new Set(clips.map((clip) => clip.id));
  const oldestFirst = [...clips].reverse().map((clip) => clip.id);
  const fresh = oldestFirst.filter((clip) => !order.includes(clip));
  if (picking) fresh.forEach((clip) => left.add(clip));
  order = [...order.filter((clip) => known.has(clip)), ...fresh];
  if (editing) for (const clip of oldestFirst) if (!reelOf(editing)?.clip_ids.includes(clip) && !touched.has(clip)) left.add(clip);
  fill(byId("project-clips"), order.map(row));
  drawAll();
  byId("reel-fields").disabled = byId("reel-fields").hidden = !clips.length && !editing;
}

/** One button leaves all clips, or takes them: a reel of three of a hundred takes three clicks more. */
function drawAll() {
  byId("reel-all").hidden = order.length < 3;
  byId("reel-all").textContent = order.every((clip) => left.has(clip)) ? "Choose all" : "Choose none";
}

function chooseAll() {
  const none = order.every((clip) => left.has(clip));
  picking = !none;
  for (const clip of order) {
    touched.add(clip);
    if (none) left.delete(clip);
    else left.add(clip);
  }
  typed(byId("project-form"), "reel");
  drawOrder(data.clips);
}

const touched = new Set(); // clips whose box was used since the reel came into the form

function row(id, place) {
  const clip = clipOf(id);
  const box = make("input", { type: "checkbox", checked: !left.has(id), value: id });
  box.addEventListener("change", () => {
    touched.add(id);
    // `fill` compares attributes: without this one it would take a box that was used for one that was not.
    box.toggleAttribute("checked", box.checked);
    if (box.checked) left.delete(id);
    else left.add(id);
    drawAll();
  });
  const move = (by, label, symbol) => iconButton(symbol, `${label}: ${clip.name}`, () => {
    [order[place], order[place + by]] = [order[place + by], order[place]];
    typed(byId("project-form"), "reel");
    drawOrder(data.clips);
    const moved = byId("project-clips").children[place + by];
    if (!moved.offsetParent) showAll(byId("project-clips"));
    (moved.querySelector(`[aria-label^="${label}"]:enabled`) ?? moved.querySelector("input")).focus();
  }, { disabled: !order[place + by] });
  return make("li", { data: { testid: "project-clip", id } },
    make("label", { class: "row check" }, box, make("span", { class: "title" }, clip.name),
      make("span", { class: "hint" }, roughly(clip.duration))),
    make("span", { class: "actions" }, move(-1, "Earlier", "up"), move(1, "Later", "down")));
}

function edit(id) {
  const reel = reelOf(id);
  editing = id;
  picking = false;
  saved(byId("project-form"));
  touched.clear();
  byId("project-name").value = reel.name;
  for (const [option, field] of Object.entries(LOOK)) byId(field).value = reel.options[option];
  order = [...new Set(reel.clip_ids)];
  left.clear();
  for (const clip of data.clips ?? []) if (!reel.clip_ids.includes(clip.id)) left.add(clip.id);
  byId("project-create").textContent = "Save reel";
  byId("project-cancel").hidden = false;
  byId("reel-form-title").replaceChildren(...isolated(`Edit “${reel.name}”`));
  drawReels(data);
  byId("project-name").focus();
  byId("reel-form-title").scrollIntoView({ block: "nearest" });
}

function leave() {
  editing = null;
  picking = false;
  saved(byId("project-form"));
  byId("project-form").reset();
  left.clear();
  order = [];
  byId("project-create").textContent = "Make reel";
  byId("project-cancel").hidden = true;
  byId("reel-form-title").textContent = "New reel";
  drawReels(data);
}

/** Another profile's reel is not edited in this one. */
export const forgetReels = () => leave();

async function save() {
  const clips = order.filter((clip) => !left.has(clip));
  if (!clips.length) throw new Error("Choose at least one clip.");
  const name = byId("project-name").value.trim();
  const options = Object.fromEntries(Object.entries(LOOK).map(([option, field]) => [option, byId(field).value.trim()]));
  const before = editing && reelOf(editing);
  // A reel that shows a clip twice keeps it so while its clips are the same.
  const same = before && String([...new Set(before.clip_ids)]) === String(clips);
  const reel = await change(() => before
    ? changeProject(before.id, { name, options, ...(same ? {} : { clip_ids: clips }) })
    : createProject({ name, clip_ids: clips, options }), "reels");
  leave();
  byId("project-select").value = reel.id;
}

export function startReels() {
  byId("project-cancel").addEventListener("click", leave);
  byId("reel-all").addEventListener("click", chooseAll);
  byId("project-form").addEventListener("input", () => typed(byId("project-form"), "reel"));
  byId("project-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(byId("project-create"), save);
  });
}
