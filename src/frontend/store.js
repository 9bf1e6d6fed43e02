// What the API last said of the profile. A late answer never takes the place of a newer one.

import { listClips, listExports, listGames, listProjects } from "./calls.js";
import { Cancelled } from "./errors.js";

const LOADERS = { games: listGames, clips: listClips, reels: listProjects, exports: listExports };

const empty = () => ({ games: null, clips: null, reels: null, exports: null });
const listeners = [];
const turns = new Map();

/** By resource: its list, newest first; null until it was loaded. */
export let data = empty();

/** `listener(data)` hears every change. */
export const onChange = (listener) => listeners.push(listener);
const notify = () => listeners.forEach((listener) => listener(data));
/** Something that the lists show, and the API does not know, has changed. */
export const redraw = notify;

/** Begins a turn: whatever began before it is late from now on. The result says whether the turn is still the newest. */
export function turn(name) {
  const mine = Symbol(name);
  turns.set(name, mine);
  return () => turns.get(name) === mine;
}

let profileEnds = new AbortController();

/** Forgets everything: another profile is in use. Answers that are on their way are dropped. */
export function forget() {
  profileEnds.abort();
  profileEnds = new AbortController();
  for (const name of Object.keys(LOADERS)) turn(name);
  data = empty();
  notify();
}

/** Asks for these resources, all at once; resolves when each has its answer, or something newer has taken its turn. */
export async function load(...names) {
  const { signal } = profileEnds;
  const wanted = names.length ? names : Object.keys(LOADERS);
  await Promise.all(wanted.map(async (name) => {
    const isNewest = turn(name);
    try {
      const found = await LOADERS[name]({ signal });
      if (!isNewest()) return;
      data[name] = found;
      notify();
    } catch (error) {
      // What a newer question replaced may fail in silence; the newer one says how it ends.
      if (error instanceof Cancelled || !isNewest()) return;
      throw error;
    }
  }));
}

/**
 * Changes something and loads what it touches, whatever became of it. Questions from before the change are late then:
 * their answers would show a state that is no more.
 */
export async function change(action, ...touched) {
  const { signal } = profileEnds;
  let made;
  try {
    made = await action();
  } catch (error) {
    // It may have been carried out all the same, or what it is about was deleted elsewhere. Why it failed is the news, not
    // how the look at everything ends.
    if (!signal.aborted) load().catch(() => {});
    throw error;
  }
  if (!signal.aborted) await load(...touched);
  return made;
}

const byIdIn = (name) => (id) => data[name]?.find((item) => item.id === id) ?? null;
export const gameOf = byIdIn("games");
export const clipOf = byIdIn("clips");
export const reelOf = byIdIn("reels");
export const exportOf = byIdIn("exports");
