// Reels (projects): which clips, in which order, how they look.

import { guarded } from "./banner.js";
import { createProject, listProjects } from "./calls.js";
import { byId, clock, make } from "./dom.js";

const names = new Map(); // project id → name
let order = [];
const left = new Set(); // clips that are not wanted

/** A reel's name; its id once the reel is deleted. */
export const reelName = (project) => names.get(project) ?? project;

export async function refreshReels(clips) {
  const known = new Map(clips.map((clip) => [clip.id, clip]));
  const oldestFirst = [...clips].reverse().map((clip) => clip.id);
  order = [...order.filter((clip) => known.has(clip)), ...oldestFirst.filter((clip) => !order.includes(clip))];
  draw(known);
  byId("order-empty").hidden = clips.length > 0;
  byId("project-create").disabled = !clips.length;
  const projects = await listProjects();
  names.clear();
  for (const project of projects) names.set(project.id, project.name);
  const select = byId("project-select");
  const before = select.value;
  select.replaceChildren(...projects.map((project) => make("option", { value: project.id }, project.name)));
  if (projects.some((project) => project.id === before)) select.value = before;
  byId("export-start").disabled = !projects.length;
}

function draw(known) {
  const rows = order.map((clip, place) => row(known, clip, place));
  byId("project-clips").replaceChildren(...rows);
}

function row(known, clip, place) {
  const { name, start, end } = known.get(clip);
  const box = make("input", { type: "checkbox", checked: !left.has(clip), value: clip });
  box.addEventListener("change", () => (box.checked ? left.delete(clip) : left.add(clip)));
  const move = (by, label, text) => {
    const button = make("button", { type: "button", class: "plain", "aria-label": `${label}: ${name}`, disabled: !order[place + by] }, text);
    button.addEventListener("click", () => {
      [order[place], order[place + by]] = [order[place + by], order[place]];
      draw(known);
      byId("project-clips").children[place + by].querySelector("input").focus();
    });
    return button;
  };
  return make("li", { data: { testid: "project-clip", id: clip } },
    make("label", { class: "grow" }, box, make("span", {}, `${name} `, make("span", { class: "hint" }, clock(end - start)))),
    move(-1, "Earlier", "↑"), move(1, "Later", "↓"));
}

export function startReels(changed) {
  byId("project-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(byId("project-create"), async () => {
      const chosen = order.filter((clip) => !left.has(clip));
      if (!chosen.length) throw new Error("Choose at least one clip.");
      const options = {
        overlay_text: byId("overlay-text").value.trim(),
        aspect: byId("aspect").value,
        quality: byId("quality").value,
        transition: byId("transition").value,
      };
      const project = await createProject(byId("project-name").value.trim(), chosen, options);
      byId("project-name").value = "";
      await changed();
      byId("project-select").value = project.id;
    });
  });
}
