/** The panel in which a picture comes to be: what it shows while waiting, when done, and when something failed. */

const $ = (id) => document.getElementById(id);
const SECOND_MS = 1000;
const UNLOADABLE = "The picture is made, but it could not be loaded. Try its link.";
const LISTED = "Shared! It is in the public gallery, and behind this link:";
const UNLISTED = "Shared! Only whoever has this link can see it:";
const BEFORE = "This picture was shared before. Its link:";
let ticking = 0;

function show(...ids) {
  for (const id of ["stage", "result", "progress", "trouble", "actions", "sharing", "shared"]) $(id).hidden = !ids.includes(id);
}

function showPicture(...ids) {
  show("result", ...ids);
  if ($("result").complete && $("result").naturalWidth === 0) complain(UNLOADABLE);
}

function tick(since) {
  $("elapsed").textContent = `${Math.max(0, Math.round((Date.now() - since) / SECOND_MS))} s`;
}

function rest(state) {
  clearInterval(ticking);
  $("easel").dataset.state = state;
}

/** Say what is being done, and count the seconds since it began. */
export function busy(words, since) {
  rest("busy");
  show("stage", "progress");
  tick(since);
  ticking = setInterval(tick, SECOND_MS, since);
  $("hint").textContent = "";
  progress(words, null);
  $("progress").scrollIntoView({ block: "nearest" }); // on a phone it lies below the form
}

/** Say how far it is; the bar only moves to and fro while the percentage is not known. */
export function progress(words, percent) {
  if ($("state").textContent !== words) $("state").textContent = words; // or it is read aloud at each poll
  $("percent").textContent = percent === null ? "" : `${percent} %`;
  if (percent === null) $("bar").removeAttribute("value");
  else $("bar").value = percent;
}

/** Hang up the picture while its permanent copy is still being made. */
export function reveal(url, prompt) {
  if ($("result").getAttribute("src") !== url) $("result").src = url;
  $("result").alt = prompt;
  showPicture("progress");
}

/** Hang up the picture for good, with what can be done with it. */
export function finish(url, prompt, hasPhoto) {
  rest("done");
  reveal(url, prompt);
  $("download").href = url;
  $("with-photo").checked = false;
  $("with-photo-option").hidden = !hasPhoto;
  showPicture("actions", "sharing");
  $("easel").scrollIntoView({ block: "nearest" });
}

/** Say in words that there will be no picture. */
export function fail(message) {
  rest("failed");
  $("hint").textContent = "No picture this time.";
  $("trouble").textContent = message;
  show("stage", "trouble");
}

/** Say in words what failed beside the picture, which stays. */
export function complain(message) {
  $("trouble").textContent = message;
  $("trouble").hidden = false;
}

/** Show the link of the shared picture, where it shows, and to its maker the way back. */
export function shared({ link, listed, token }) {
  $("share-link").value = link;
  $("open-share").href = link;
  $("shared-label").textContent = listed ? LISTED : token ? UNLISTED : BEFORE;
  $("take-back").hidden = !token;
  showPicture("actions", "shared");
}

/** Offer sharing again: the share is gone. */
export function unshared() {
  showPicture("actions", "sharing");
}

$("result").addEventListener("error", () => complain(UNLOADABLE));
