// The player: a game or a clip by presigned URL, frame by frame, and the preview where the browser cannot play a video.

import { guarded, hideError, showError } from "./banner.js";
import { mediaUrl, previewGame } from "./calls.js";
import { byId, clock } from "./dom.js";
import { Cancelled } from "./errors.js";
import { change, clipOf, gameOf, turn } from "./store.js";
import { drawShown, startTimeline } from "./timeline.js";

const FALLBACK_RATE = 30; // of games of earlier releases, for steps only
const UNSUPPORTED = 4; // MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED
const DECODE = 3;

let current = null; // {game, clip?, key, goodUntil, renewed: its URL failed and was renewed, failed: keys that cannot be played}
let shownAt = 0; // when the frame that is shown begins, in seconds
let onPlay = () => {};

const video = () => byId("player");

/** `{game, clip?}`: the ids of what is in the player, null where it is empty. */
export const playing = () => current;
export const frameRate = (game) => gameOf(game)?.frame_rate ?? null;

let wanted = null; // the newest thing that the player is to do

/**
 * Does something that only reads. While the API cannot be reached it is tried again, until something newer is wanted; then
 * its failure is no news either.
 */
function attempt(action) {
  const mine = (wanted = Symbol("player"));
  return guarded(null, async () => {
    if (wanted !== mine) return;
    try {
      await action();
    } catch (error) {
      throw wanted === mine ? error : new Cancelled("Something newer is wanted");
    }
  }, { key: "player", read: true });
}

/** Plays `{game}` or `{game, clip}`, from `at` seconds on. Resolves when it is loading, or an error is shown. */
export const play = (what, { at = 0 } = {}) => attempt(() => show(what, at));

async function show({ game, clip = null }, at) {
  const subject = clip ? clipOf(clip) : gameOf(game);
  if (!subject) return;
  const failed = current?.game === game && current?.clip === clip ? current.failed : new Set();
  current = { game, clip, key: null, failed };
  // Until the new video is there, a step or a mark must not take a frame of the last one for one of this.
  unload();
  shownAt = startOfFrame(at);
  onPlay(current);
  showTitle();
  drawTime();
  await open(keyOf(subject, failed), at);
}

/** The file that this browser can play: the source, or the preview once the source has failed. */
function keyOf(subject, failed) {
  const preview = subject.preview?.status === "complete" ? subject.preview.key : null;
  return failed.has(subject.key) && preview ? preview : subject.key;
}

async function open(key, at) {
  const isNewest = turn("player");
  const mine = current;
  const { url, expires_in: seconds } = await mediaUrl(key);
  // Another video was chosen while the URL was on its way.
  if (!isNewest() || current !== mine) return;
  Object.assign(current, { key, goodUntil: performance.now() + seconds * 1000 });
  say("");
  video().src = url;
  video().load();
  if (at) video().currentTime = at;
  shownAt = startOfFrame(at);
  drawTime();
}

function unload() {
  stepped = -1;
  video().removeAttribute("src");
  video().load();
}

/** Another profile's videos are not this one's. */
export function emptyPlayer() {
  turn("player");
  wanted = null;
  current = null;
  unload();
  shownAt = 0;
  say("");
  showTitle();
  drawTime();
  onPlay(null);
}

function showTitle() {
  const subject = current && (current.clip ? clipOf(current.clip) : gameOf(current.game));
  const title = subject ? (current.clip ? `Clip: ${subject.name}` : subject.name) : "Player";
  Object.assign(byId("player-title"), { textContent: title, title });
  byId("stage").dataset.playing = subject ? (current.clip ? "clip" : "game") : "";
}

function say(text, state = "") {
  byId("player-note").hidden = !text;
  byId("player-note-text").textContent = text;
  byId("player-note").dataset.state = state;
  byId("preview-again").hidden = state !== "failed";
}

/** The list has changed: what plays may be gone, or its preview ready. */
export function followGames() {
  if (!current) return;
  const game = gameOf(current.game);
  if (!game || (current.clip && !clipOf(current.clip))) {
    emptyPlayer();
    return;
  }
  showTitle();
  if (current.clip || !current.failed.has(game.key) || !game.preview) return;
  const { status, progress, reason, key } = game.preview;
  if (status === "complete") {
    if (current.key !== key && !current.failed.has(key)) attempt(() => open(key, shownAt));
  } else if (status === "failed" || status === "cancelled") {
    say(`No preview could be made: ${reason ?? status}. Clips can still be cut by typing their times.`, "failed");
  } else {
    say(`This browser cannot play ${codec(game)}. A preview is being made · ${Math.round(progress * 100)}\u00a0%`, "making");
  }
}

const codec = (game) => `${game.filename.split(".").at(-1).toUpperCase()} with ${game.video_codec}`;

async function unplayable() {
  const { game: id, clip, key, failed } = current;
  failed.add(key);
  const game = gameOf(id);
  if (clip || !game) {
    say("This browser cannot play this video.");
  } else if (key === game.preview?.key) {
    say("This browser can play neither the video nor its preview.", "");
  } else {
    say(`This browser cannot play ${codec(game)}. A preview is being made …`, "making");
    await askForPreview(id);
  }
}

const askForPreview = (id) => guarded(null, async () => {
  if (gameOf(id)?.preview?.status !== "complete") await change(() => previewGame(id), "games");
  followGames();
}, { key: "preview" });

function failed() {
  const { error, currentTime } = video();
  if (!current?.key || !error) return;
  if (performance.now() > current.goodUntil) {
    renew(currentTime);
  } else {
    diagnose();
  }
}

/** The URL has expired while the page was open: a fresh one goes on at the same place. */
function renew(at) {
  current.renewed = true;
  return attempt(() => open(current.key, at));
}

/**
 * A browser gives one code to a video that it cannot play and to one that it could not fetch. Storage answers 403 to a
 * URL that expired while the device slept, when the page's clock stood still.
 */
async function diagnose() {
  const mine = current;
  const { currentTime } = video();
  const cannotPlay = [UNSUPPORTED, DECODE].includes(video().error.code);
  try {
    const answer = await fetch(video().src, { headers: { Range: "bytes=0-0" }, cache: "no-store" });
    if (current !== mine) return;
    if (answer.ok && cannotPlay) await unplayable();
    else if (!mine.renewed && (answer.ok || answer.status === 403)) await renew(currentTime);
    else showError(new Error(`Storage answered ${answer.status} for this video.`), { key: "player", again: () => play(mine), read: true });
  } catch {
    if (current === mine) showError(new Error("The video could not be loaded."), { key: "player", again: () => play(mine), read: true });
  }
}

const frameLasts = () => 1 / ((current && frameRate(current.game)) || FALLBACK_RATE);

/** When the frame begins that is shown at a time. */
function startOfFrame(seconds) {
  const lasts = frameLasts();
  return Math.floor(seconds / lasts + 1e-3) * lasts;
}

/** The frame that is shown: when it begins in the game, also while a clip plays, and how long a frame lasts, in seconds. */
export function shownFrame() {
  const lasts = frameLasts();
  const clip = current?.clip ? clipOf(current.clip) : null;
  // A cut begins with the frame that is nearest to its start.
  return { at: clip ? Math.round(clip.start / lasts) * lasts + shownAt : shownAt, lasts };
}

let stepped = -1; // where the last step went, in seconds

function step(frames) {
  const lasts = frameLasts();
  const player = video();
  player.pause();
  // A second step before the first is shown goes on from it, and so does one within a frame that a video of variable rate
  // shows for longer than this.
  const goesOn = Math.abs(player.currentTime - stepped) < 1e-4 && (player.seeking || frames > 0);
  const from = goesOn ? Math.floor(stepped / lasts) : Math.round(shownAt / lasts);
  // The middle of the frame: its edges belong to one frame or the other, as rounding has it.
  const target = (from + frames + 0.5) * lasts;
  stepped = Math.max(0, Math.min(target, player.duration || target));
  player.currentTime = stepped;
}

/** Shows the frame of the game that is on at a time. */
export function jumpTo(seconds) {
  const lasts = frameLasts();
  const at = startOfFrame(seconds) + lasts / 2;
  if (current?.clip) {
    play({ game: current.game }, { at });
    return;
  }
  video().pause();
  video().currentTime = at;
}

function drawTime() {
  const lasts = frameLasts();
  drawShown(shownFrame().at);
  const frame = current && frameRate(current.game) ? ` · frame ${Math.round(shownAt / lasts)}` : "";
  byId("player-time").textContent = current ? `${clock(shownAt)}${frame}` : "";
  byId("player-time").dataset.at = String(shownAt);
}

function watchFrames() {
  const player = video();
  if (player.requestVideoFrameCallback) {
    const seen = (_now, { mediaTime }) => {
      shownAt = mediaTime;
      drawTime();
      player.requestVideoFrameCallback(seen);
    };
    player.requestVideoFrameCallback(seen);
    return;
  }
  for (const event of ["timeupdate", "seeked"]) {
    player.addEventListener(event, () => {
      shownAt = startOfFrame(player.currentTime);
      drawTime();
    });
  }
}

const KEYS = {
  ",": () => step(-1),
  ".": () => step(1),
  "<": () => step(-10),
  ">": () => step(10),
  i: () => byId("clip-start-now").click(),
  o: () => byId("clip-end-now").click(),
};

/** `whenPlaying(playing)` hears what is in the player. */
export function startPlayer(whenPlaying) {
  onPlay = whenPlaying;
  const player = video();
  player.addEventListener("error", failed);
  player.addEventListener("loadedmetadata", () => {
    // Sound without a picture: the container is known, the picture's codec is not.
    if (current?.key && !player.videoWidth) unplayable();
    else hideError("player");
  });
  watchFrames();
  startTimeline(jumpTo);
  byId("preview-again").addEventListener("click", () => askForPreview(current.game));
  byId("frame-back").addEventListener("click", () => step(-1));
  byId("frame-on").addEventListener("click", () => step(1));
  byId("stage").addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || !current || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    event.preventDefault();
    act();
  });
}
