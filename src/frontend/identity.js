// Who is here: a user made once for this browser, and the profile of this tab.

import { recall, remember } from "./memory.js";

const USER = "reel-ballers.user";
const PROFILE = "reel-ballers.profile";
const TOKEN = "reel-ballers.token";

// crypto.randomUUID exists in secure contexts only; a page over plain http on another host has none.
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `u-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export const userId = () => recall("local", USER);

/**
 * Makes the user on the very first visit; to be awaited before anything else. Two tabs that are opened at once get the
 * same one: a transaction of IndexedDB decides, because each tab's view of localStorage may be behind the other's.
 */
export async function settleUser() {
  if (userId()) return;
  const made = randomId();
  remember("local", USER, await firstOf(made).catch(() => made)); // some private windows have no IndexedDB
}

function firstOf(candidate) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(USER, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("user");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const transaction = database.transaction("user", "readwrite");
      const users = transaction.objectStore("user");
      const asking = users.get("id");
      let first = candidate;
      asking.onsuccess = () => {
        if (asking.result) first = asking.result;
        else users.put(candidate, "id");
      };
      transaction.oncomplete = () => {
        database.close();
        resolve(first);
      };
      transaction.onabort = () => reject(transaction.error);
    };
  });
}

/** The profile of this tab: another tab may have another one, and a reload keeps it. */
export const profileId = () => recall("session", PROFILE);
export const useProfile = (id) => remember("session", PROFILE, id || null);

/** What closes the API to strangers, where it is closed; one for all tabs. */
export const accessToken = () => recall("local", TOKEN);
export const useToken = (token) => remember("local", TOKEN, token || null);
