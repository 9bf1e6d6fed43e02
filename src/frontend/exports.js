// Exports: started, followed live, downloaded by presigned URL.

import { guarded, showError } from "./banner.js";
import { cancelExport, createExport, deleteExport, exportSocket, getExport, mediaUrl, renameExport, retryExport } from "./calls.js";
import { askName, confirmDelete } from "./dialogs.js";
import { byId, fill, iconButton, make, roughly, size } from "./dom.js";
import { change, exportOf, load } from "./store.js";
import { watch } from "./watch.js";

const ENDED = new Set(["complete", "failed", "cancelled"]);
const WORDS = { pending: "Waiting for its turn", processing: "Rendering", complete: "Ready", failed: "Failed", cancelled: "Cancelled" };
const PHASES = {
  "queued on Modal": "Waiting for a GPU", download: "Fetching the clips", encode: "Rendering", join: "Joining the clips",
  upload: "Storing the file", done: "Storing the file",
};
// A newer server may know states that this page does not.
const wordOf = ({ status }) => WORDS[status] ?? status;
const SHORT = 100; // characters of a reason that stand in the list
let following = null; // {id, abort}

export function drawExports({ exports: found, reels }) {
  byId("export-empty").hidden = !found || found.length > 0 || !reels?.length;
  byId("export-list").setAttribute("aria-busy", String(found === null));
  fill(byId("export-list"), (found ?? []).map(item));
  if (!found) return;
  if (following && !exportOf(following.id)) stopFollowing();
  if (following) byId("export-title").textContent = exportOf(following.id).name;
  const active = found.find((job) => !ENDED.has(job.status));
  if (active && !following?.running) follow(active);
}

function item(job) {
  const key = `export ${job.id}`;
  const button = (text, label, run) => make("button", { type: "button", class: "plain", "aria-label": `${label} ${job.name}`,
    onclick: (event) => guarded(event.currentTarget, run, { key }) }, text);
  const actions = [];
  if (job.status === "complete") actions.push(iconButton("download", `Download ${job.name}`, () => guarded(null, () => save(job), { key })));
  if (job.status === "failed" || job.status === "cancelled") {
    actions.push(button("Retry", "Retry", async () => follow(await change(() => retryExport(job.id), "exports"))));
  }
  actions.push(iconButton("pencil", `Rename ${job.name}`, () => rename(job, key)));
  actions.push(iconButton("trash", `Delete ${job.name}`, () => remove(job, key)));
  const facts = job.status === "complete" ? ` · ${roughly(job.duration)} · ${size(job.size)}` : "";
  return make("li", { data: { testid: "export-item", id: job.id, status: job.status } },
    make("div", { class: "row" }, make("span", { class: "title" }, job.name),
      make("div", { class: "hint", data: { state: job.status } }, job.reason ? why(job) : `${wordOf(job)}${facts}`)),
    make("span", { class: "actions" }, ...actions));
}

const opened = new Set(); // exports whose whole reason is shown

/** The reason for which it failed: what ffmpeg or Modal wrote may be long, and is shown on demand. */
function why({ id, reason, ...job }) {
  if (reason.length <= SHORT) return `${wordOf(job)}: ${reason}`;
  const beginning = reason.slice(0, SHORT).replace(/\s+\S*$/, "");
  const toggled = ({ target }) => (target.open ? opened.add(id) : opened.delete(id));
  return make("details", { class: "long", open: opened.has(id), ontoggle: toggled },
    make("summary", {}, `${wordOf(job)}: ${beginning} …`), make("p", {}, reason));
}

async function rename(job, key) {
  const name = await askName("export", job.name);
  if (name) await guarded(null, () => change(() => renameExport(job.id, name), "exports"), { key });
}

async function remove(job, key) {
  const changes = ENDED.has(job.status) ? [] : ["It is not finished: rendering it ends."];
  if (job.status === "complete") changes.push("Its file is deleted for good. The reel and its clips stay.");
  if (!(await confirmDelete(`the export “${job.name}”`, changes))) return;
  await guarded(null, () => change(() => deleteExport(job.id), "exports"), { key });
}

const fileName = (job) => `${job.name.replace(/[^\p{L}\p{N} _-]+/gu, "").trim().slice(0, 100) || "reel"}.mp4`;

async function save(job) {
  const { url } = await mediaUrl(job.key, fileName(job));
  make("a", { href: url }).click();
}

export function stopFollowing() {
  following?.abort.abort();
  following = null;
  byId("export-state").hidden = true;
  byId("download-link").hidden = true;
}

async function follow(job) {
  if (following?.running && following.id === job.id) return;
  stopFollowing();
  const mine = { id: job.id, abort: new AbortController(), running: true };
  following = mine;
  byId("export-state").hidden = false;
  show(job);
  try {
    const last = await watch(exportSocket(job.id), {
      poll: () => getExport(job.id),
      show,
      ended: (state) => ENDED.has(state.status),
      signal: mine.abort.signal,
    });
    if (!last || following !== mine) return;
    // The event says that it ended; the resource says where the file is.
    const ended = await getExport(job.id);
    if (following !== mine) return;
    show(ended);
    if (ended.status === "complete") await offer(ended, mine);
    mine.running = false;
    await load("exports");
  } catch (error) {
    mine.running = false;
    if (following !== mine) return;
    stopFollowing();
    // It was deleted, here or in another tab: the list tells.
    if (error.status === 404) load("exports").catch(() => {});
    else showError(error, { key: `export ${job.id}`, again: () => follow(job) });
  }
}

export function show(state) {
  const percent = state.status === "complete" ? 100 : Math.round(100 * (state.progress ?? 0));
  byId("export-progress").value = percent;
  const line = byId("export-status");
  line.dataset.state = state.status;
  line.textContent = ENDED.has(state.status)
    ? wordOf(state) // the list says why
    : state.status === "pending" ? wordOf(state) : `${PHASES[state.phase] ?? wordOf(state)} · ${percent} %`;
  byId("export-title").textContent = state.name ?? exportOf(state.id ?? state.export_id)?.name ?? byId("export-title").textContent;
  byId("export-cancel").hidden = ENDED.has(state.status);
}

async function offer(job, mine) {
  const { url } = await mediaUrl(job.key, fileName(job));
  if (following !== mine) return;
  byId("download-link").href = url;
  byId("download-link").hidden = false;
}

export function startExports() {
  // The URL in the link expires; a click takes a fresh one. What opens it in another way still finds the first.
  byId("download-link").addEventListener("click", (event) => {
    event.preventDefault();
    const job = following && exportOf(following.id);
    if (job) guarded(null, () => save(job), { key: `export ${job.id}` });
  });
  byId("export-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(byId("export-start"), async () => {
      const reel = byId("project-select").value;
      follow(await change(() => createExport(reel), "exports"));
    });
  });
  byId("export-cancel").addEventListener("click", () =>
    guarded(byId("export-cancel"), async () => {
      if (following) await change(() => cancelExport(following.id), "exports");
    }));
}
