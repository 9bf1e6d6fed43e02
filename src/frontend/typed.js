// Forms with something in them that is not saved. The page asks before it is lost.

import { confirmDelete } from "./dialogs.js";

const unsaved = new Map(); // form → what it is about

export const typed = (form, what) => unsaved.set(form, what);
export const isTyped = (form) => unsaved.has(form);
export const saved = (form) => unsaved.delete(form);

/** Whether the forms may be emptied: nothing was typed, or the person agrees. */
export async function mayEmptyForms() {
  if (!unsaved.size) return true;
  return confirmDelete("what you typed", [...unsaved.values()].map((what) => `The ${what} in the form is not saved.`));
}

addEventListener("beforeunload", (event) => {
  if (unsaved.size) event.preventDefault();
});
