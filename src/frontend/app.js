// The page: loads its configuration, then one part per section.

import { guarded, hearAnswer, hideAll, showError } from "./banner.js";
import { status } from "./calls.js";
import { drawClips, forgetClips, formFor, startClips } from "./clips.js";
import { loadConfig } from "./config.js";
import { byId } from "./dom.js";
import { closeQuestions } from "./dialogs.js";
import { drawExports, startExports, stopFollowing } from "./exports.js";
import { drawGames, startGames } from "./games.js";
import { onAnswer, onProfileGone } from "./http.js";
import { profileId, settleUser, userId } from "./identity.js";
import { forgetful } from "./memory.js";
import { emptyPlayer, followGames, play, playing, startPlayer } from "./player.js";
import { place, visit } from "./places.js";
import { followAddress, profileName, refreshProfiles, startProfiles } from "./profiles.js";
import { drawReels, forgetReels, startReels } from "./reels.js";
import { clipOf, data, forget, gameOf, load, onChange } from "./store.js";
import { startUploads } from "./uploads.js";

const POLL_MS = 1500;
const FRESH_MS = 15_000; // a tab that is looked at again after this long asks anew

let shown = null; // the profile whose data is on the page
let loadedAt = 0;
let poll = null;

const refresh = (...names) => guarded(null, async () => {
  await load(...names);
  loadedAt = Date.now(); // performance.now() may stand still while the device sleeps
}, { key: ["data", ...names].join(" "), read: true }); // one list that loads says nothing of another that does not

async function switched() {
  if (profileId() === shown) return shown ? refresh() : undefined;
  if (profileId() && place().profile !== profileId()) visit({}, { instead: !shown });
  shown = profileId();
  awaited = null;
  hideAll();
  closeQuestions();
  stopFollowing();
  forget();
  emptyPlayer();
  forgetClips();
  forgetReels();
  if (shown) await refresh();
  return undefined;
}

function draw() {
  byId("forgetful").hidden = !forgetful();
  drawGames(data);
  drawClips(data);
  drawReels(data);
  drawExports(data);
  followGames();
  openWhenReady();
  if (!playing()) openPlace();
  if (moved && data.games && data.clips) goTo();
  formFor(playing());
  followWork();
}

/** Plays what the address names, or else the newest game. */
function openPlace() {
  const { game, clip } = place();
  if (clip && !data.clips) return; // drawn again when they are there
  const found = data.games?.filter(({ status }) => status === "ready") ?? [];
  const chosen = found.find(({ id }) => id === game) ?? found[0];
  if (!chosen) return;
  const cut = chosen.id === game && clipOf(clip)?.status === "ready" ? clip : null;
  play({ game: chosen.id, clip: cut });
}

let moved = false; // the address has changed, and the lists are not there yet

/** The person went back or forward, or wrote another address. */
async function goTo() {
  const { profile, game, clip } = place();
  if (!profile) return;
  moved = profile === profileId() && !(data.games && data.clips);
  if (moved) return; // what is not in the lists may still come
  if (profile !== profileId()) {
    if (!(await followAddress())) visit(playing() ?? {});
  } else if (gameOf(game)?.status === "ready" && (!clip || clipOf(clip)?.status === "ready")) {
    if (playing()?.game !== game || (playing().clip ?? undefined) !== clip) {
      await play({ game, clip: clip ?? null });
    }
  } else visit(playing() ?? {}, { instead: true }); // it was deleted
}

/** Clips that are being cut, previews that are being made, games that are looked through and exports beside the one that
 * is followed live are asked about until they are done. */
function followWork() {
  const busy = [];
  if (data.clips?.some((clip) => clip.status === "processing")) busy.push("clips");
  if (data.games?.some((game) => game.status === "inspecting" || ["pending", "processing"].includes(game.preview?.status))) busy.push("games");
  if (data.exports?.filter((job) => ["pending", "processing"].includes(job.status)).length > 1) busy.push("exports");
  clearTimeout(poll);
  if (busy.length) poll = setTimeout(() => refresh(...busy), POLL_MS);
}

let awaited = null; // an upload that is to be opened, while the API looks through it

/** What was uploaded is opened: at once, or when the API has looked through all of it. */
function openWhenReady() {
  const game = data.games?.find(({ id }) => id === awaited);
  if (!game || game.status === "inspecting") return;
  awaited = null;
  if (game.status === "ready") play({ game: game.id });
}

let leaving = false;

/** Another tab or device has deleted this tab's profile: say so, and go on with one that is there. */
async function leaveProfile() {
  if (leaving) return; // several requests may be refused at once
  leaving = true;
  const [gone, name] = [profileId(), profileName()];
  await refreshProfiles();
  leaving = false;
  if (profileId() === gone) showError(new Error(`The server does not find the profile “${name}”. Reload the page.`), { key: "profile" });
  else showError(new Error(`The profile “${name}” was deleted in another tab or on another device.`), { key: "profile" });
}

const SYNC_WORDS = { synced: "Saved", pending: "Saving …", failed: "Not saved", conflict: "Changed elsewhere" };

function showSync(sync) {
  if (!sync) return;
  const pill = byId("sync-status");
  pill.dataset.state = sync;
  pill.textContent = SYNC_WORDS[sync] ?? sync;
}

async function showEnvironment() {
  const { environment, app_env: prefix, modal } = await status();
  const pill = byId("environment");
  pill.textContent = environment === prefix ? environment : `${environment} · ${prefix}`;
  pill.hidden = false;
  const problem = modal?.reachable ? modal.detail : null;
  byId("gpu-problem").textContent = problem ? `${problem}.` : "";
  byId("gpu-note").hidden = !problem;
}

function lookAgain() {
  if (document.visibilityState !== "visible" || Date.now() - loadedAt < FRESH_MS) return;
  refreshProfiles();
}

async function start() {
  onAnswer(hearAnswer);
  onAnswer(showSync);
  onProfileGone(leaveProfile);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment of the address says what is open
    byId("main").focus();
  });
  await guarded(null, async () => {
    const { api, dev } = await loadConfig();
    byId("api-url").textContent = api;
    byId("dev-note").textContent = dev ?? "";
    byId("dev-note").hidden = !dev;
    startParts();
  }, { key: "config", read: true });
}

async function startParts() {
  await settleUser();
  byId("user-id").textContent = userId();
  onChange(draw);
  startPlayer((current) => {
    formFor(current);
    drawGames(data);
    if (current) visit(current, { instead: !gameOf(place().game) });
  });
  addEventListener("popstate", goTo);
  startUploads((game, opens) => {
    if (opens) awaited = game.id;
    return refresh("games");
  });
  startGames();
  startClips();
  startReels();
  startExports();
  document.addEventListener("visibilitychange", lookAgain);
  // A page that was on the screen when the device fell asleep, or beside another window, did not become invisible.
  for (const event of ["focus", "online"]) addEventListener(event, lookAgain);
  await startProfiles(switched);
  await guarded(null, showEnvironment, { key: "status", read: true });
}

if (!window.tooOld) start(); // index.html says so
