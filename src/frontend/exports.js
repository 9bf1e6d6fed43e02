// Exports: started, followed live, downloaded by presigned URL.

import { guarded, showError } from "./banner.js";
import { cancelExport, createExport, exportSocket, getExport, listExports, mediaUrl, retryExport } from "./calls.js";
import { byId, clock, make, size } from "./dom.js";
import { reelName } from "./reels.js";
import { watch } from "./watch.js";

const ENDED = new Set(["complete", "failed", "cancelled"]);
let changed = async () => {};
let following = null; // {id, abort}

export async function refreshExports() {
  const found = await listExports();
  byId("export-list").replaceChildren(...found.map(item));
  const active = found.find((job) => !ENDED.has(job.status));
  if (active && following?.id !== active.id) follow(active);
}

function item(job) {
  const actions = [];
  if (job.status === "complete") actions.push(action("Download", () => save(job)));
  if (job.status === "failed" || job.status === "cancelled") {
    actions.push(action("Retry", async () => follow(await retryExport(job.id))));
  }
  const facts = job.status === "complete" ? ` · ${clock(job.duration)} · ${size(job.size)}` : "";
  const words = `${job.status}${job.reason ? `: ${job.reason}` : ""}${facts}`;
  return make("li", { data: { testid: "export-item", id: job.id, status: job.status } },
    make("span", { class: "grow" }, make("span", { class: "title" }, title(job)),
      make("span", { class: "hint" }, words)), ...actions);
}

const title = (job) => reelName(job.project_id);

function action(text, run) {
  const button = make("button", { type: "button", class: "plain" }, text);
  button.addEventListener("click", () => guarded(button, run));
  return button;
}

const fileName = (job) => `${title(job).replace(/[^\w -]+/g, "").trim() || "reel"}.mp4`;

async function save(job) {
  const link = make("a", { href: await mediaUrl(job.key, fileName(job)) });
  link.click();
}

export function stopFollowing() {
  following?.abort.abort();
  following = null;
  byId("export-state").hidden = true;
  byId("download-link").hidden = true;
}

async function follow(job) {
  stopFollowing();
  const mine = { id: job.id, abort: new AbortController() };
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
    if (ended.status === "complete") await offer(ended);
    await changed();
  } catch (error) {
    if (following === mine) showError(error);
  }
}

function show(state) {
  const percent = state.status === "complete" ? 100 : Math.round(100 * (state.progress ?? 0));
  byId("export-progress").value = percent;
  const line = byId("export-status");
  line.dataset.state = state.status;
  const phase = state.phase && state.phase !== state.status ? ` · ${state.phase}` : "";
  line.textContent = ENDED.has(state.status)
    ? `${state.status}${state.reason ? `: ${state.reason}` : ""}`
    : `${state.status}${phase} · ${percent} %`;
  byId("export-cancel").hidden = ENDED.has(state.status);
}

async function offer(job) {
  const link = byId("download-link");
  link.href = await mediaUrl(job.key, fileName(job));
  link.hidden = false;
}

export function startExports(whenChanged) {
  changed = whenChanged;
  byId("export-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(byId("export-start"), async () => {
      follow(await createExport(byId("project-select").value));
      await changed();
    });
  });
  byId("export-cancel").addEventListener("click", () =>
    guarded(byId("export-cancel"), async () => {
      if (following) show(await cancelExport(following.id));
    }));
}
