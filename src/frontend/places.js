// What is open, in the fragment of the page's address: `#/PROFILE`, `#/PROFILE/GAME` or `#/PROFILE/GAME/CLIP`. So back and
// forward go through what was opened, a reload keeps it, and a copied link opens it. A browser sends no fragment to a server.

import { profileId } from "./identity.js";

/** The ids in the address; undefined for those that it does not have. */
export function place() {
  const [top, profile, game, clip] = location.hash.split("/");
  return top === "#" && profile ? { profile, game, clip } : {};
}

/**
 * Writes `{game?, clip?}` of the current profile into the address. It is a step that “back” undoes, unless `instead`: then
 * it takes the place of an address that opens nothing, or less.
 */
export function visit({ game, clip } = {}, { instead = false } = {}) {
  const address = `#/${[profileId(), game, clip].filter(Boolean).join("/")}`;
  if (address === location.hash) return;
  if (instead || !place().profile) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}
