/** Lets the gallery go on as one scrolls: the next page's tiles take the place of the link to it. */

const AHEAD = "800px"; // about a screen before the end, so that nobody waits for it

const tiles = document.querySelector(".tiles");

async function load(href) {
  const response = await fetch(href);
  if (!response.ok) throw new Error(`The gallery answered with ${response.status}.`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

const hrefOf = (tile) => tile.querySelector("a").getAttribute("href");

/** Append the tiles that are not here yet: a page that was loaded twice shows nothing twice. */
function append(page) {
  const here = new Set(Array.from(tiles.children, hrefOf));
  const fresh = Array.from(page.querySelectorAll(".tiles > .tile")).filter((tile) => !here.has(hrefOf(tile)));
  tiles.append(...fresh);
}

/** Put the next page in the place of the link; if it does not come, the link stays to be clicked. */
async function goOn(more) {
  try {
    const page = await load(more.querySelector("a").href);
    append(page);
    more.replaceWith(...page.querySelectorAll(".more"));
    watch();
  } catch {
    more.querySelector("a").textContent = "Try again";
  }
}

/** Go on once the link to the next page comes near. */
function watch() {
  const more = document.querySelector(".more");
  if (!more || !tiles) return;
  const watcher = new IntersectionObserver(
    ([entry]) => {
      if (!entry.isIntersecting) return;
      watcher.disconnect();
      goOn(more);
    },
    { rootMargin: AHEAD },
  );
  watcher.observe(more);
}

watch();
