// Where the API is. `/config.json` comes from the page's own host.

let loaded = null;

/** `{api, r2?, ca?}`. Throws with a sentence for a person when the host does not answer or has no such file. */
export async function loadConfig() {
  const [answer, text] = await read().catch(() => {
    throw Object.assign(new Error("The host of this page does not answer: the connection may be lost."), { passing: true });
  });
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    // A single-page host answers unknown paths with its index page and 200.
    throw new Error("This host has no config.json (it answered with a page): the site was deployed without it.");
  }
  if (!answer.ok || typeof data.api !== "string" || !/^https?:\/\//.test(data.api)) {
    throw new Error('config.json must hold {"api": "https://…"}.');
  }
  loaded = data;
  return data;
}

async function read() {
  const answer = await fetch("/config.json", { cache: "no-store" });
  return [answer, await answer.text()];
}

export const config = () => loaded;
