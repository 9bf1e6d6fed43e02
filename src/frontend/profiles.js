// The profile in use; everything else waits for one.

import { byId, make } from "./dom.js";
import { guarded } from "./banner.js";
import { createProfile, listProfiles, selectProfile } from "./calls.js";
import { profileId, useProfile } from "./identity.js";

/** `changed()` is called whenever another profile is in use. */
export function startProfiles(changed) {
  const select = byId("profile-select");

  async function refresh() {
    const { profiles, selected } = await listProfiles();
    const known = profiles.some((profile) => profile.id === profileId());
    if (!known) useProfile(selected ?? profiles[0]?.id ?? null);
    select.replaceChildren(...profiles.map((profile) => make("option", { value: profile.id }, profile.name)));
    if (!profiles.length) select.append(make("option", { value: "" }, "none yet"));
    select.disabled = !profiles.length;
    select.value = profileId() ?? "";
    byId("workspace").disabled = !profileId();
    await changed();
  }

  select.addEventListener("change", () =>
    guarded(select, async () => {
      await selectProfile(select.value);
      useProfile(select.value);
      await changed();
    }));
  byId("profile-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("profile-name");
    guarded(byId("create-profile"), async () => {
      const made = await createProfile(name.value.trim());
      useProfile(made.id);
      name.value = "";
      await refresh();
      await selectProfile(made.id);
    });
  });
  return guarded(null, refresh);
}
