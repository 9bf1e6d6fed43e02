// Clips: marked in the player or by numbers, cut on the server.

import { guarded } from "./banner.js";
import { createClip, deleteClip, extractClip, listClips, mediaUrl } from "./calls.js";
import { byId, clock, make } from "./dom.js";
import { currentGame } from "./games.js";

const POLL_MS = 1500;

let changed = async () => {};
let timer = null;

export async function refreshClips() {
  const clips = await listClips();
  byId("clip-list").replaceChildren(...clips.map(item));
  clearTimeout(timer);
  if (clips.some((clip) => clip.status === "processing")) timer = setTimeout(() => guarded(null, changed), POLL_MS);
  return clips;
}

function item(clip) {
  const watch = make("button", { type: "button", class: "plain", disabled: clip.status !== "ready" }, "Watch");
  watch.addEventListener("click", () =>
    guarded(watch, async () => {
      byId("player").src = await mediaUrl(clip.key);
      byId("player-title").textContent = `Clip: ${clip.name}`;
    }));
  const remove = make("button", { type: "button", class: "plain", "aria-label": `Delete ${clip.name}` }, "Delete");
  remove.addEventListener("click", () =>
    guarded(remove, async () => {
      await deleteClip(clip.id);
      await changed();
    }));
  const facts = `${clock(clip.start)} – ${clock(clip.end)} · ${clip.status}${clip.reason ? `: ${clip.reason}` : ""}`;
  return make("li", { data: { testid: "clip-item", id: clip.id, status: clip.status } },
    make("span", { class: "grow" }, make("span", { class: "title" }, clip.name), make("span", { class: "hint" }, facts)), watch, remove);
}

export function startClips(whenChanged) {
  changed = whenChanged;
  for (const name of ["clip-start", "clip-end"]) {
    byId(`${name}-now`).addEventListener("click", () => {
      byId(name).value = byId("player").currentTime.toFixed(1);
    });
  }
  byId("clip-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(byId("clip-create"), async () => {
      const game = currentGame();
      const [start, end] = [Number(byId("clip-start").value), Number(byId("clip-end").value)];
      if (!game) throw new Error("Choose a game first: a clip is cut from it.");
      if (end <= start) throw new Error("The clip's end must come after its start.");
      const clip = await createClip(game.id, byId("clip-name").value.trim(), start, end);
      await extractClip(clip.id);
      byId("clip-name").value = "";
      await changed();
    });
  });
}
