// localStorage and sessionStorage, and a copy in memory for browsers that forbid them or have no room left. Without the
// copy the first refusal would end the page; with it, only what a reload needs is lost.

const copies = { local: new Map(), session: new Map() };
const refused = new Set(); // keys whose newest value is only in the copy

// Reading the property itself throws where a browser forbids storage.
const storage = (kind) => (kind === "local" ? localStorage : sessionStorage);

/** Whether the browser refused to keep something: a reload will not find it. */
export const forgetful = () => refused.size > 0;

/** The text of a key, null where there is none. */
export function recall(kind, key) {
  if (refused.has(key)) return copies[kind].get(key) ?? null;
  try {
    return storage(kind).getItem(key);
  } catch {
    return copies[kind].get(key) ?? null;
  }
}

/** Keeps a text; null removes it. */
export function remember(kind, key, text) {
  refused.delete(key);
  copies[kind].delete(key);
  try {
    if (text === null) storage(kind).removeItem(key);
    else storage(kind).setItem(key, text);
  } catch {
    if (text === null) return;
    refused.add(key);
    copies[kind].set(key, text);
  }
}

/** The JSON value of a key, null where there is none or where it is not JSON. */
export function recallJson(kind, key) {
  try {
    return JSON.parse(recall(kind, key));
  } catch {
    return null;
  }
}

/** All keys of localStorage, and those that are only in memory. */
export function keys() {
  try {
    return [...new Set([...Object.keys(localStorage), ...copies.local.keys()])];
  } catch {
    return [...copies.local.keys()];
  }
}
