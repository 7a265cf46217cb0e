/** Lets the gallery go on as one scrolls: the next page's tiles take the place of the link to it. */

const AHEAD = "800px"; // about a screen before the end, so that nobody waits for it

const tiles = document.querySelector(".tiles");

async function nextPage(href) {
  const response = await fetch(href);
  if (!response.ok) throw new Error(`The gallery answered with ${response.status}.`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Append the tiles that are not here yet: a share that moved up meanwhile is shown once. */
function append(page) {
  const here = new Set(Array.from(tiles.querySelectorAll("a"), (link) => link.getAttribute("href")));
  const fresh = Array.from(page.querySelectorAll(".tiles .tile")).filter(
    (tile) => !here.has(tile.querySelector("a").getAttribute("href")),
  );
  tiles.append(...fresh.map((tile) => document.importNode(tile, true)));
}

/** Watch the link to the next page. After a failure it stays a link that can be clicked. */
function follow(more) {
  if (!more || !tiles) return;
  const watcher = new IntersectionObserver(
    async ([entry]) => {
      if (!entry.isIntersecting) return;
      watcher.disconnect();
      const page = await nextPage(more.querySelector("a").href);
      append(page);
      const next = page.querySelector(".more");
      if (next) more.replaceWith(document.importNode(next, true));
      else more.remove();
      follow(document.querySelector(".more"));
    },
    { rootMargin: AHEAD },
  );
  watcher.observe(more);
}

follow(document.querySelector(".more"));
