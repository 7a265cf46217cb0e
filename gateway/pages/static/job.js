/** Follows one order to its end, across reloads of the page. */

import { ApiError, details, storedUrl } from "./api.js";

const KEY = "kawaii.job";
const INTERVAL_MS = 2000; // the seed front end's pace
const MAX_BAD_ANSWERS = 3; // in total, as the seed front end has it
const MAX_LOOKS = 15; // at the permanent copy, half a minute in all

const pause = () => new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));

/** The order that this tab is waiting for, or whose picture it shows; null when none. */
export const recall = () => JSON.parse(sessionStorage.getItem(KEY));

/** Note the order, so that a reload goes on with it. */
export const remember = (job) => sessionStorage.setItem(KEY, JSON.stringify(job));

/** Forget the order: it ended without a picture. */
export const forget = () => sessionStorage.removeItem(KEY);

const SHARES = "kawaii.shares"; // what this browser has shared, so that its maker can take it back
const MAX_SHARES = 200; // some 40 kB of the browser's 5 MB

/** The share of a picture that this browser made; undefined when none. */
export const shareOf = (url) => JSON.parse(localStorage.getItem(SHARES) ?? "{}")[url];

/** Keep the share of a picture with its token; null forgets it. */
export function keepShare(url, share) {
  const { [url]: _old, ...others } = JSON.parse(localStorage.getItem(SHARES) ?? "{}");
  const entries = [...Object.entries(others).slice(1 - MAX_SHARES), ...(share ? [[url, share]] : [])];
  localStorage.setItem(SHARES, JSON.stringify(Object.fromEntries(entries)));
}

function lostSight({ message, status }) {
  return new ApiError(`${message} Your wish is safe: reload this page to look again.`, status);
}

function refused({ message }) {
  forget();
  return new ApiError(message || "The model could not make this picture.", 200);
}

/** Poll until the picture is made, telling each piece of news; returns its URL, which may not be permanent yet. */
export async function made(job, tell) {
  for (let bad = 0; ; await pause()) {
    const news = await details(job).catch((error) => ({ error }));
    if (news.error) {
      bad += 1;
      if (bad === MAX_BAD_ANSWERS) throw lostSight(news.error);
      continue;
    }
    tell(news);
    if (news.state === "failed") throw refused(news);
    if (news.state === "done") return news.url;
  }
}

/** Wait for the permanent copy; returns its URL, or the one given when no copy turns up in time. */
export async function kept(job, url, isStored) {
  let found = url;
  for (let looks = 0; !isStored(found) && looks < MAX_LOOKS; looks += 1) {
    await pause();
    found = (await storedUrl(job).catch(() => "")) || found;
  }
  return found;
}
