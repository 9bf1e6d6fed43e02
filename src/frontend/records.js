// What this browser remembers of an upload, so that it can go on after a reload: which file, and which parts arrived.

import { userId } from "./identity.js";
import { keys, recallJson, remember } from "./memory.js";

const PREFIX = "reel-ballers.upload.";
const HEAD_BYTES = 1024 * 1024;
const PIECE_BYTES = 32 * 1024;
const PIECES = 32;

/**
 * SHA-256 of the file's first MiB and of pieces all over it, because reading 10 GB would take minutes; empty where the
 * browser has no crypto (plain http).
 */
async function fingerprint(file) {
  if (!crypto.subtle) return "";
  const last = Math.max(0, file.size - PIECE_BYTES);
  const places = Array.from({ length: PIECES }, (_, place) => Math.floor((last * (place + 1)) / PIECES));
  const sample = new Blob([file.slice(0, HEAD_BYTES), ...places.map((at) => file.slice(at, at + PIECE_BYTES))]);
  const digest = await crypto.subtle.digest("SHA-256", await sample.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const bytes = ({ size }) => `${size.toLocaleString("en")} bytes`;

/** A new record of an upload that begins. */
export async function recordOf(file, { game, profile, name }) {
  const hash = await fingerprint(file);
  return { game, profile, user: userId(), name, filename: file.name, size: file.size, modified: file.lastModified, hash, etags: {} };
}

/**
 * Why a file is not the one of the record, in words; null where it is. Name and date decide only without a hash: a phone
 * gives a video another date each time that it is chosen.
 */
export async function otherFile(record, file) {
  if (file.size !== record.size) return `It has ${bytes(file)}, the upload began with ${bytes(record)}.`;
  const hash = await fingerprint(file);
  if (record.hash && hash) return hash === record.hash ? null : "Its content is another one.";
  if (file.name !== record.filename) return `Its name is “${file.name}”, the upload began with “${record.filename}”.`;
  return file.lastModified === record.modified ? null : "It was changed since the upload began.";
}

export const keep = (record) => remember("local", PREFIX + record.game, JSON.stringify(record));
export const drop = (game) => remember("local", PREFIX + game, null);

/** The record of a game's upload, null where another browser began it. */
export function recorded(game) {
  const record = recallJson("local", PREFIX + game);
  return record?.user === userId() ? record : null;
}

/** All records of this user. */
export const allRecords = () =>
  keys()
    .filter((key) => key.startsWith(PREFIX))
    .map((key) => recorded(key.slice(PREFIX.length)))
    .filter(Boolean);

/** Games of the profile that have a record. */
export const recordedGames = (profile) =>
  allRecords().filter((record) => record.profile === profile).map(({ game }) => game);

/** The locks of this origin; null where a browser has none, or forbids them together with storage. */
const locks = async () => {
  try {
    return await navigator.locks.query();
  } catch {
    return null;
  }
};

/** Runs `work` while no other tab sends the same upload; throws where one does. */
export async function alone(game, work) {
  if (!(await locks())) return work();
  return navigator.locks.request(PREFIX + game, { ifAvailable: true }, (lock) => {
    if (!lock) throw new Error("Another tab is sending this file.");
    return work();
  });
}

/** The games that tabs of this browser are sending at the moment. */
export async function beingSent() {
  const held = (await locks())?.held ?? [];
  return new Set(held.filter(({ name }) => name.startsWith(PREFIX)).map(({ name }) => name.slice(PREFIX.length)));
}
