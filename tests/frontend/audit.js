// What of the page on the screen a person could not read, touch or name; axe-core's rules button-name, label,
// select-name, link-name, label-content-name-mismatch, page-has-heading-one, duplicate-id, target-size (44 px) and
// color-contrast (4.5), and no horizontal scrolling.
() => {
  const wrong = [];
  const seen = (element) => element.checkVisibility({ checkOpacity: false, checkVisibilityCSS: true })
    && element.getClientRects().length > 0 && !element.closest(".skip");
  const called = (element) => `${element.tagName.toLowerCase()}#${element.id}.${element.className} “${element.textContent.trim().slice(0, 30)}”`;
  const name = (element) => element.getAttribute("aria-label")
    || (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("").trim()
    || [...(element.labels ?? [])].map((label) => label.textContent).join("").trim()
    || (["BUTTON", "A"].includes(element.tagName) && element.textContent.trim());
  for (const element of document.querySelectorAll("button, a, input, select, video, progress, output, dialog, section, ul, ol")) {
    if (seen(element) && !name(element)) wrong.push(`no name: ${called(element)}`);
  }
  // Who speaks to the page says what stands on it; and who hears it misses nothing of that.
  const words = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  for (const element of document.querySelectorAll("button[aria-label]")) {
    const missing = seen(element) && words(element.innerText).filter((word) => !words(name(element)).includes(word));
    if (missing.length) wrong.push(`“${missing.join(" ")}” is not in the name: ${called(element)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) wrong.push("no h1, or several");
  for (const element of document.querySelectorAll("button, .button, input, select, dialog a, .banner a")) {
    if (!seen(element)) continue;
    // A box of a list is as large as its label.
    const { width, height } = (element.type === "checkbox" ? element.closest("label") : element).getBoundingClientRect();
    if (width < 43.9 || height < 43.9) wrong.push(`${Math.round(width)} × ${Math.round(height)}: ${called(element)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) wrong.push(`twice: #${id}`);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let place = element; place; place = place.parentElement) {
      const colour = rgba(getComputedStyle(place).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !seen(element) || element.matches("option, script, noscript *") || element.closest(":disabled")) continue;
    const [front, back] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(2)}: ${called(element)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`${document.documentElement.scrollWidth} px wide on ${innerWidth}`);
  return wrong;
}
