/** Keeps the list of the latest shares fresh. */

import { latest } from "./api.js";

const list = document.getElementById("latest");
const note = document.getElementById("latest-note");
const template = document.getElementById("tile");

function tile({ id, generatedUrl }, words) {
  const item = template.content.cloneNode(true);
  item.querySelector("a").href = `/share/${encodeURIComponent(id)}`;
  item.querySelector("img").src = generatedUrl;
  item.querySelector(".tile-text").textContent = words || "A shared picture";
  return item;
}

/** Show the newest shares. The API's list holds no words, so known tiles stay and the new share brings its own. */
export async function refresh(newId, words) {
  const items = await latest();
  if (items.length === 0 && newId) return;
  const known = new Map(Array.from(list.children, (item) => [item.querySelector("a").getAttribute("href"), item]));
  const tileOf = (item) => known.get(`/share/${item.id}`) ?? tile(item, item.id === newId ? words : "");
  list.replaceChildren(...items.map(tileOf));
  note.hidden = items.length > 0;
}
