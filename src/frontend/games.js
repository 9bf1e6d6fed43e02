// Games: upload, list, play.

import { guarded } from "./banner.js";
import { deleteGame, listGames, mediaUrl, uploadGame } from "./calls.js";
import { byId, clock, make, size } from "./dom.js";

let playing = null;
let changed = async () => {};

/** The game in the player, or null. */
export const currentGame = () => playing;

export async function refreshGames() {
  const games = await listGames();
  if (playing && !games.some((game) => game.id === playing.id)) show(null);
  byId("game-list").replaceChildren(...games.map(item));
  byId("game-empty").hidden = games.length > 0;
  const first = games.find((game) => game.status === "ready");
  if (!playing && first) await play(first);
}

function item(game) {
  const ready = game.status === "ready";
  const facts = ready
    ? `${clock(game.duration)} · ${game.width}×${game.height} · ${game.video_codec} · ${size(game.size)}`
    : `upload not finished · ${size(game.size)}`;
  const watch = make("button", { type: "button", class: "plain", disabled: !ready }, "Watch");
  watch.addEventListener("click", () => guarded(watch, () => play(game)));
  const remove = make("button", { type: "button", class: "plain", "aria-label": `Delete ${game.name}` }, "Delete");
  remove.addEventListener("click", () => {
    if (!confirm(`Delete “${game.name}” and its clips?`)) return;
    guarded(remove, async () => {
      await deleteGame(game.id);
      await changed();
    });
  });
  const data = { testid: "game-item", id: game.id, status: game.status, duration: game.duration ?? "" };
  return make("li", { data, class: playing?.id === game.id ? "chosen" : "" },
    make("span", { class: "grow" }, make("span", { class: "title" }, game.name), make("span", { class: "hint" }, facts)), watch, remove);
}

async function play(game) {
  show(game, await mediaUrl(game.key));
}

function show(game, url) {
  playing = game;
  const player = byId("player");
  if (url) player.src = url;
  else player.removeAttribute("src");
  player.load();
  byId("player-title").textContent = game ? `${game.name}, ${clock(game.duration)}` : "Choose a game to watch it here.";
  for (const name of ["clip-start", "clip-end"]) byId(name).max = game ? String(game.duration) : "";
  if (game && Number(byId("clip-end").value) > game.duration) byId("clip-end").value = String(Math.floor(game.duration * 10) / 10);
  for (const li of byId("game-list").children) li.classList.toggle("chosen", li.dataset.id === game?.id);
}

/** Another profile's games are not this one's. */
export function forgetGame() {
  show(null);
}

export function startGames(whenChanged) {
  changed = whenChanged;
  let cancel = null;
  const file = byId("upload-file");
  file.addEventListener("change", () => {
    const name = byId("upload-name");
    if (file.files[0] && !name.value) name.value = file.files[0].name.replace(/\.[^.]+$/, "");
  });
  byId("upload-cancel").addEventListener("click", () => cancel?.abort());
  byId("upload-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = file.files[0];
    cancel = new AbortController();
    byId("upload-state").hidden = false;
    advance(0, chosen.size);
    guarded(byId("upload-start"), async () => {
      const progress = (bytes) => advance(bytes, chosen.size);
      const game = await uploadGame(chosen, byId("upload-name").value.trim(), { progress, signal: cancel.signal });
      byId("upload-form").reset();
      show(null);
      await play(game);
      await changed();
    }).finally(() => {
      cancel = null;
      byId("upload-state").hidden = true;
    });
  });
}

function advance(bytes, all) {
  const percent = Math.min(100, (100 * bytes) / all);
  byId("upload-progress").value = percent;
  byId("upload-text").textContent = percent < 100 ? `${size(bytes)} of ${size(all)} · ${Math.floor(percent)} %` : "checking the video …";
}
