// The uploads of this tab: begun, resumed, shown, and finished when the API has looked at the video.

import { hideError, showError } from "./banner.js";
import { deleteGame, finalizeUpload, listGames, prepareUpload, uploadUrls } from "./calls.js";
import { confirmDelete } from "./dialogs.js";
import { byId, listed, size } from "./dom.js";
import { Cancelled, CAUSES, Problem, Refused, Unreachable } from "./errors.js";
import { profileId } from "./identity.js";
import { enqueue, leave, pending, startQueue } from "./queue.js";
import { alone, drop, keep, otherFile, recorded, recordOf } from "./records.js";
import { load, redraw } from "./store.js";
import { delayOf, sendParts, untilOnline } from "./upload.js";

const SPARE = 0.1; // of its life: an URL is renewed this long before it expires
const TRIES = 6; // of answers such as 503; with the growing delay between them about 20 seconds

let active = null; // {game, abort, ended, abandoned?}
let uploaded = async () => {};

/** The game that this tab is sending, null where there is none. */
export const sending = () => active?.game ?? null;

function pieces(upload, bytes) {
  if (upload.method === "single") return [{ number: 1, begin: 0, end: bytes, url: upload.url, headers: upload.headers }];
  let begin = 0;
  return upload.parts.map((part) => {
    const piece = { number: part.part_number, begin, end: begin + part.size, url: part.url };
    begin += part.size;
    return piece;
  });
}

/** Where the parts go; fresh URLs before the old ones expire, and after R2 refused one. */
function addresses(prepared, record, options) {
  let [parts, goodUntil, renewing] = [[], 0, null];
  const take = (answer) => {
    parts = pieces(answer.upload, record.size);
    goodUntil = performance.now() + answer.expires_in * 1000 * (1 - SPARE);
  };
  take(prepared);
  const renew = async () => {
    try {
      take(await persist(() => uploadUrls(record.game, options), options.signal));
    } finally {
      renewing = null;
    }
  };
  return {
    parts,
    async target(number, expired) {
      const find = () => parts.find((part) => part.number === number);
      if (performance.now() > goodUntil || find().url === expired) await (renewing ??= renew());
      return find();
    },
  };
}

/**
 * Repeats an API call for as long as the network is away, and `TRIES` times while the server answers 5xx or 429, as it
 * does for some seconds when a Machine is replaced: hours of upload must not end for that.
 */
async function persist(action, signal) {
  let refused = 0;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const made = await action();
      show({ cause: null });
      return made;
    } catch (error) {
      if (error instanceof Problem && error.passing) refused += 1;
      else if (!(error instanceof Unreachable) || ["cors", "certificate"].includes(error.cause)) throw error;
      if (refused === TRIES) throw error;
      show({ cause: error.cause ?? "server" });
      await untilOnline(delayOf(attempt), signal);
    }
  }
}

async function send(file, record, prepared, abort) {
  const options = { profile: record.profile, signal: abort.signal };
  const finished = new Map(Object.entries(record.etags).map(([number, etag]) => [Number(number), etag]));
  const { parts, target } = addresses(prepared, record, options);
  await sendParts(file, parts, {
    finished,
    target,
    signal: abort.signal,
    progress: (bytes) => show({ bytes }),
    arrived: (number) => {
      record.etags[number] = finished.get(number);
      keep(record);
    },
    waiting: (cause) => show({ cause }),
  });
  show({ phase: "checking", cause: null });
  const multipart = prepared.upload.method === "multipart";
  const done = [...finished].sort(([a], [b]) => a - b).map(([number, etag]) => ({ part_number: number, etag }));
  const game = await persist(() => finalizeUpload(record.game, multipart ? done : [], options), abort.signal);
  drop(record.game);
  return game;
}

async function goOn(record, signal) {
  active.game = record.game;
  const prepared = await persist(() => uploadUrls(record.game, { profile: record.profile, signal }), signal);
  return { record, prepared };
}

/** An upload for the queue. `begin(signal)` resolves with `{record, prepared}`; trying again after that goes on where it ended. */
function uploadOf(file, title, begin, { game = null, opens = true } = {}) {
  const entry = { title, bytes: file.size, game };
  let record = null;
  entry.send = async () => {
    if (!file.size) throw new Refused(`“${file.name}” is empty or a folder. Choose a video file.`);
    const abort = new AbortController();
    active = { game: record?.game ?? null, abort, ended: new AbortController() };
    state = { phase: "sending", bytes: 0, all: file.size, cause: null, title };
    show({});
    try {
      const begun = await (record && recorded(record.game) ? goOn(record, abort.signal) : begin(abort.signal));
      record = begun.record;
      active.game = entry.game = record.game;
      redraw();
      if (profileId() === record.profile) load("games").catch(() => {});
      const made = await alone(record.game, () => send(file, record, begun.prepared, abort));
      if (profileId() === record.profile) await uploaded(made, opens);
    } catch (error) {
      if (error instanceof Cancelled && active.game && !active.abandoned) await discard(active.game);
      // Storage or the API refuses what belongs to no game.
      if (record && (error.final || [404, 409].includes(error.status)) && !error.told && (await isGone(record))) {
        throw new Refused(`“${title}” was deleted in another tab or on another device, so its upload has ended.`);
      }
      throw error;
    } finally {
      active.ended.abort();
      active = state = null;
      show({});
      redraw(); // the list may not load now, and must offer "Resume" all the same
      if (profileId() === record?.profile) load("games").catch(() => {});
    }
  };
  return entry;
}

/** Whether the game of an upload was deleted; false where the API cannot tell. */
const isGone = ({ game, profile }) =>
  listGames({ profile }).then((games) => !games.some(({ id }) => id === game), () => false);

async function discard(game) {
  const { profile } = recorded(game) ?? {};
  drop(game);
  // That it cannot be removed now is no news: the API removes uploads that are never finished.
  await deleteGame(game, { profile }).catch(() => {});
}

/** Ends the upload of a game that the caller deletes. */
export function abandonUpload(game) {
  leave((entry) => entry.game === game);
  if (active?.game !== game) return;
  active.abandoned = true;
  active.abort.abort();
}

/** Sends files `[{file, name}]` as new games. The first is opened when it is ready, unless others are sent before it. */
function beginUploads(files) {
  const profile = profileId();
  const free = !pending();
  enqueue(files.map(({ file, name }, place) => uploadOf(file, name, async (signal) => {
    // A harmless request waits for the network: the next one, sent twice, would make two games.
    await persist(() => listGames({ profile, signal }), signal);
    const prepared = await prepareUpload(file, name, { profile, signal });
    const record = await recordOf(file, { game: prepared.game_id, profile, name });
    keep(record);
    return { record, prepared };
  }, { opens: free && !place })));
}

/** Goes on with an upload that a reload or a closed tab has ended; the file must be the same. */
export function resumeUpload(game, file) {
  const { name } = recorded(game) ?? file;
  enqueue([uploadOf(file, name, async (signal) => {
    const record = recorded(game);
    if (!record) throw new Refused("This browser does not know which file it was. Delete the game and upload it anew.");
    const wrong = await otherFile(record, file);
    if (wrong) throw new Refused(`This is not the file of “${record.name}”. ${wrong}`);
    return goOn(record, signal);
  }, { game })]);
}

/** Hours of upload must not end by one touch. */
async function cancel() {
  const [mine, { title }] = [active, state];
  const sure = await confirmDelete(`the upload of “${title}”`, ["What has been sent is deleted. The file on this device stays."], mine.ended.signal);
  if (sure) mine.abort.abort();
}

let state = null;
function show(news) {
  if (state) Object.assign(state, news);
  const panel = byId("upload-state");
  panel.hidden = !state;
  if (!state) return;
  const percent = Math.min(100, (100 * state.bytes) / Math.max(1, state.all));
  panel.dataset.state = state.cause ? "waiting" : state.phase;
  byId("upload-title").textContent = state.title;
  byId("upload-progress").value = percent;
  // A screen reader says each state, not each percent.
  byId("upload-text").setAttribute("aria-live", panel.dataset.state === "sending" ? "off" : "polite");
  const stored = `${size(state.bytes)} of ${size(state.all)} · ${Math.floor(percent)} %`;
  byId("upload-text").textContent = state.cause ? `${waitingFor(state.cause)}${state.bytes ? ` · ${Math.floor(percent)} % is stored` : ""}`
    : state.phase === "checking" ? "Checking the video …" : stored;
}

const waitingFor = (cause) =>
  cause === "offline" || cause === "interrupted" ? "Waiting for the network"
    : cause === "storage" ? "Waiting: storage has a problem"
    : `Waiting: the server ${CAUSES[cause] ?? "has a problem"}`;

/** Takes files that were dropped anywhere on the page as those to upload. */
function dropped(event) {
  const { files, items, types } = event.dataTransfer;
  if (!types.includes("Files")) return; // a text
  event.preventDefault();
  if ([...items].some((item) => item.webkitGetAsEntry?.()?.isDirectory)) {
    showError(new Refused("This is a folder. Choose the video files in it."), { key: "upload" });
    return;
  }
  hideError("upload");
  const field = byId("upload-file");
  field.files = files;
  field.dispatchEvent(new Event("change"));
  byId("upload-kept").textContent = `${listed([...files].map((file) => `“${file.name}”`))} can be uploaded as soon as there is a profile.`;
  byId(files.length > 1 ? "upload-start" : "upload-name").focus();
}

/** What a game is called after its file. */
const nameOf = (file) => [...file.name.replace(/\.[^.]+$/, "")].slice(0, 200).join("").trim() || file.name;

/** `whenUploaded(game, opens)` is called with each game that is stored; `opens`: it is to be opened. */
export function startUploads(whenUploaded) {
  uploaded = whenUploaded;
  startQueue();
  const [file, name] = [byId("upload-file"), byId("upload-name")];
  let suggested = "";
  const suggest = () => {
    const { files } = file;
    const several = files.length > 1;
    name.disabled = several;
    name.placeholder = several ? "Each has the name of its file" : "Home game";
    byId("upload-start").textContent = several ? `Upload ${files.length} videos` : "Upload";
    if (several) name.value = suggested = "";
    // What was typed stays, also for another file.
    else if (files[0] && [suggested, ""].includes(name.value)) name.value = suggested = nameOf(files[0]);
  };
  file.addEventListener("change", suggest);
  byId("upload-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = name.value.trim();
    beginUploads([...file.files].map((each, _, { length }) => ({ file: each, name: length > 1 ? nameOf(each) : typed })));
    event.target.reset(); // free for the next file, which may be chosen while these are sent
    suggested = "";
    suggest();
  });
  byId("upload-cancel").addEventListener("click", cancel);
  // A file that is dropped beside the field would open in place of the page.
  addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
  addEventListener("drop", dropped);
  // A browser asks before it closes the tab; what arrived can be resumed, but the file would have to be chosen again.
  addEventListener("beforeunload", (event) => {
    if (pending()) event.preventDefault();
  });
}
