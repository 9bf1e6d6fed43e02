// The profile of this tab; everything else waits for one.

import { guarded } from "./banner.js";
import { createProfile, deleteProfile, listProfiles, renameProfile, selectProfile } from "./calls.js";
import { askName, confirmDelete } from "./dialogs.js";
import { byId, make } from "./dom.js";
import { profileId, useProfile } from "./identity.js";
import { place } from "./places.js";
import { allRecords, drop, recorded } from "./records.js";
import { turn } from "./store.js";
import { mayEmptyForms } from "./typed.js";
import { abandonUpload, sending } from "./uploads.js";

let known = [];
let switched = async () => {};

/** What the profile of this tab is called. */
export const profileName = () => current()?.name ?? "";

/** Whether this tab sends a file to the profile. */
const sendingIn = (profile) => recorded(sending())?.profile === profile;

const current = () => known.find((profile) => profile.id === profileId());

async function refresh() {
  const isNewest = turn("profiles");
  const records = allRecords(); // an upload that another tab begins meanwhile may be in a profile that it has just made
  const { profiles, selected } = await listProfiles();
  if (!isNewest()) return;
  known = profiles;
  for (const { game, profile } of records) if (!profiles.some(({ id }) => id === profile)) drop(game);
  // Only a tab without a profile of its own follows what another one selected last.
  if (!current()) useProfile(profiles.some(({ id }) => id === selected) ? selected : (profiles[0]?.id ?? null));
  draw();
  await switched();
}

function draw() {
  byId("starting").hidden = true;
  const select = byId("profile-select");
  select.replaceChildren(...known.map((profile) => make("option", { value: profile.id }, profile.name)));
  select.value = profileId() ?? "";
  byId("profile-tools").hidden = !known.length;
  const name = current()?.name;
  for (const [button, label] of [["profile-rename", "Rename"], ["profile-delete", "Delete"]]) {
    byId(button).setAttribute("aria-label", `${label} profile ${name}`);
  }
  showForm(!known.length);
  byId("profile-cancel").hidden = !known.length;
  byId("workspace").disabled = !profileId();
  byId("workspace").hidden = !profileId();
  document.title = name ? `${name} · Reel Ballers` : "Reel Ballers";
}

function showForm(shown) {
  byId("welcome").hidden = !shown;
  byId("profile-new").setAttribute("aria-expanded", String(shown));
}

async function use(id) {
  useProfile(id);
  draw();
  await switched();
}

/** The address names another profile; whether it is this tab's now. */
export async function followAddress() {
  const { profile } = place();
  if (!known.some(({ id }) => id === profile) || !(await mayEmptyForms())) return false;
  await use(profile);
  return true;
}

/** `whenSwitched()` is called whenever another profile may be in use. Resolves when the profiles are known. */
export function startProfiles(whenSwitched) {
  switched = whenSwitched;
  // Not disabled meanwhile: a person may choose again before the lists are there, and arrow keys pass several profiles.
  byId("profile-select").addEventListener("change", ({ target }) =>
    guarded(null, async () => {
      const { value } = target;
      if (!(await mayEmptyForms())) {
        target.value = profileId();
        return;
      }
      await use(value);
      if (profileId() === value) await selectProfile(value); // what the next new tab opens with
    }, { key: target.id }));
  byId("profile-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("profile-name");
    guarded(byId("create-profile"), async () => {
      if (!(await mayEmptyForms())) return;
      const made = await createProfile(name.value.trim());
      useProfile(made.id);
      name.value = "";
      await refresh();
      await selectProfile(made.id);
    });
  });
  byId("profile-new").addEventListener("click", () => {
    showForm(byId("welcome").hidden);
    if (!byId("welcome").hidden) byId("profile-name").focus();
  });
  byId("profile-cancel").addEventListener("click", () => {
    showForm(false);
    byId("profile-new").focus();
  });
  byId("profile-rename").addEventListener("click", async () => {
    const { id, name } = current();
    const wanted = await askName("profile", name, 100);
    if (wanted) {
      await guarded(byId("profile-rename"), async () => {
        await renameProfile(id, wanted);
        await refresh();
      });
    }
  });
  byId("profile-delete").addEventListener("click", async () => {
    const { id, name } = current();
    const changes = ["All its games, clips, reels and exports are deleted for good."];
    if (sendingIn(id)) changes.push("The upload that is under way ends.");
    if (!(await confirmDelete(`the profile “${name}”`, changes))) return;
    await guarded(byId("profile-delete"), async () => {
      if (sendingIn(id)) abandonUpload(sending());
      await deleteProfile(id);
      if (profileId() === id) useProfile(null);
      await refresh();
    });
  });
  if (place().profile) useProfile(place().profile);
  return guarded(null, refresh, { key: "profiles", read: true });
}

/** Another tab may have renamed or deleted a profile. */
export const refreshProfiles = () => guarded(null, refresh, { key: "profiles", read: true });
