// Games: the list, rename and delete, uploads that can go on.

import { guarded, showError } from "./banner.js";
import { deleteGame, finalizeUpload, renameGame } from "./calls.js";
import { askName, confirmDelete } from "./dialogs.js";
import { byId, count, fill, iconButton, listed, make, roughly, size } from "./dom.js";
import { Problem } from "./errors.js";
import { profileId } from "./identity.js";
import { play, playing } from "./player.js";
import { waits } from "./queue.js";
import { beingSent, drop, recorded, recordedGames } from "./records.js";
import { change, data, load, turn } from "./store.js";
import { abandonUpload, resumeUpload, sending } from "./uploads.js";

let resuming = null; // the game whose file is being asked for
let sent = new Set(); // games that some tab is sending

export async function drawGames({ games }) {
  byId("game-empty").hidden = !games || games.length > 0;
  byId("stage").dataset.loading = String(games === null);
  byId("game-list").setAttribute("aria-busy", String(games === null));
  fill(byId("game-list"), (games ?? []).map(item));
  if (!games) return;
  for (const game of recordedGames(profileId())) {
    const found = games.find(({ id }) => id === game);
    if (game !== sending() && (!found || found.status !== "uploading")) drop(game);
  }
  const busy = await beingSent();
  const changed = [...busy, ...sent].some((game) => busy.has(game) !== sent.has(game));
  sent = busy;
  if (changed && data.games) fill(byId("game-list"), data.games.map(item));
}

export function item(game) {
  const chosen = playing()?.game === game.id;
  const ready = game.status === "ready";
  const actions = [
    iconButton("pencil", `Rename ${game.name}`, () => rename(game)),
    iconButton("trash", `Delete ${game.name}`, () => remove(game)),
  ];
  const title = make("span", { class: "title" }, game.name);
  const facts = make("span", { class: "hint" }, ready ? readyFacts(game) : uploadFacts(game));
  const body = ready
    ? make("button", { type: "button", class: "row", "aria-label": `Watch ${game.name}, ${readyFacts(game)}`, "aria-current": chosen ? "true" : null,
        onclick: () => play({ game: game.id }) }, title, facts)
    : make("span", { class: "row" }, title, facts);
  const again = game.status === "failed";
  const resume = game.status === "uploading" && recorded(game.id) && !sent.has(game.id) && sending() !== game.id && !waits(game.id);
  return make("li", { class: chosen ? "chosen" : "",
    data: { testid: "game-item", id: game.id, status: game.status, duration: game.duration ?? "" } },
    body, make("span", { class: "actions" }, ...(resume ? [resumeButton(game)] : again ? [againButton(game)] : []), ...actions));
}

const readyFacts = (game) =>
  [roughly(game.duration), `${game.width} × ${game.height}`, size(game.size)].join(" · ");

function uploadFacts(game) {
  if (sending() === game.id) return "Uploading …";
  if (waits(game.id)) return "Its upload waits for its turn";
  if (sent.has(game.id)) return "Another tab is uploading it";
  const record = recorded(game.id);
  if (game.status === "inspecting") {
    return `Looking through the video … ${Math.floor(100 * (game.progress ?? 0))}\u00a0% · ${size(game.size)}`;
  }
  if (game.status === "refused") return `This video cannot be used. ${game.reason}`;
  if (game.status === "failed") return `The video could not be looked through. ${game.reason}`;
  // A newer server may know states that this page does not.
  if (game.status !== "uploading") return `${game.status} · ${size(game.size)}`;
  if (!record) return `Upload not finished · ${size(game.size)}. It can go on in the browser where it began.`;
  const parts = Object.keys(record.etags).length;
  return `Upload interrupted · ${parts ? `${count(parts, "part")} of it ${parts === 1 ? "is" : "are"} stored` : "nothing is stored yet"}`;
}

function resumeButton(game) {
  return make("button", { type: "button", class: "plain", "aria-label": `Resume the upload of ${game.name}: choose the file again`,
    onclick: () => {
      resuming = game.id;
      byId("resume-file").value = "";
      byId("resume-file").click();
    } }, "Resume");
}

function againButton(game) {
  return make("button", { type: "button", class: "plain", "aria-label": `Look through ${game.name} again`,
    onclick: () => guarded(null, () => change(() => finalizeUpload(game.id, []), "games"), { key: `game ${game.id}` }) },
  "Try again");
}

async function rename(game) {
  const name = await askName("game", game.name);
  if (name) await guarded(null, () => change(() => renameGame(game.id, name), "games"), { key: `game ${game.id}` });
}

async function remove(game, news = []) {
  const isNewest = turn("question"); // a click on another item meanwhile counts
  // Another tab may have cut clips from it since.
  const known = await guarded(null, async () => (await load("clips", "reels", "exports"), true), { key: `game ${game.id}` });
  if (!known || !isNewest()) return;
  const clips = data.clips.filter((clip) => clip.game_id === game.id);
  const changes = [...news, ...consequences(clips)];
  if (!(await confirmDelete(`the game “${game.name}”`, changes))) return;
  abandonUpload(game.id);
  try {
    await change(() => deleteGame(game.id, { cascade: clips.length > 0 }), "games", "clips", "reels", "exports");
    drop(game.id);
  } catch (error) {
    // It has clips by now: say what else goes, and ask again.
    if (error instanceof Problem && error.status === 409 && !clips.length) await remove(game, [error.message]);
    else showError(error, { key: `game ${game.id}`, again: () => remove(game) });
  }
}

function consequences(clips) {
  if (!clips.length) return [];
  const ids = new Set(clips.map(({ id }) => id));
  const reels = data.reels.filter((reel) => reel.clip_ids.some((clip) => ids.has(clip)));
  const lines = [`${count(clips.length, "clip")} cut from it ${clips.length === 1 ? "is" : "are"} deleted too.`];
  if (reels.length) lines.push(`${listed(reels.map(({ name }) => `“${name}”`))} ${reels.length === 1 ? "loses" : "lose"} these clips.`);
  const running = data.exports.filter(({ status, project_id: reel }) =>
    ["pending", "processing"].includes(status) && reels.some(({ id }) => id === reel));
  if (running.length) lines.push(`${count(running.length, "export")} that ${running.length === 1 ? "is" : "are"} not finished will end.`);
  lines.push("Finished exports stay.");
  return lines;
}

export function startGames() {
  byId("resume-file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file && resuming) resumeUpload(resuming, file);
  });
}
