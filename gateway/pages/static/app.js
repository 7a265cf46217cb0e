/** Wires the start page together: the form orders, the easel shows, the latest shares follow. */

import * as api from "./api.js";
import * as easel from "./easel.js";
import { forget, keepShare, kept, made, recall, remember, shareOf } from "./job.js";
import { refresh } from "./latest.js";

const $ = (id) => document.getElementById(id);
const MAX_PICTURE_BYTES = 10 * 1024 * 1024; // what the upload route takes
const COPIED_MS = 1500;
const form = $("order");
const uploads = new WeakMap(); // the same file is sent once
let hanging = null; // the finished picture: its job and its URL

const isStored = (url) => url.startsWith(`${form.dataset.files}/`);
const chosenReach = () => document.querySelector("input[name=reach]:checked").value;
const chosen = (name) => form.querySelector(`input[name=${name}]:checked`);

function wordsFor({ percent }) {
  if (!percent) return "Waiting for the first brush stroke";
  return percent < 100 ? "Drawing your picture" : "Drawn! Keeping it safe";
}

function inWords(error) {
  if (error instanceof api.ApiError) return error.message;
  console.error(error);
  return "Something went wrong in this page. Reload it and try again.";
}

async function uploaded(file) {
  if (!uploads.has(file)) uploads.set(file, await api.upload(file));
  return uploads.get(file);
}

/** Place the form's order; a picture to start from is uploaded first. */
async function place(since) {
  forget();
  const { value: model, dataset } = chosen("model");
  const order = { prompt: $("prompt").value, model, family: dataset.family, ratio: chosen("ratio").value };
  const [file] = $("picture").files;
  if (file) {
    easel.busy("Sending your picture", since);
    order.fileUrl = await uploaded(file);
  }
  easel.busy("Handing over your wish", since);
  return { ...order, since, taskId: await api.create(order) };
}

async function follow(job) {
  easel.busy("Looking how far it is", job.since);
  const first = await made(job, (news) => easel.progress(wordsFor(news), news.percent));
  if (first) easel.reveal(first, job.prompt);
  easel.progress("Drawn! Keeping it safe", 100);
  const url = await kept(job, first, isStored);
  if (!url) throw new api.ApiError("The picture was made, but it cannot be found. Please tell the operator.", 200);
  hanging = { job: { ...job, madeAt: job.madeAt ?? Date.now() }, url };
  remember(hanging.job);
  easel.finish(url, job.prompt, Boolean(job.fileUrl));
  if (shareOf(url)) easel.shared(shareOf(url));
  if (!isStored(url)) easel.complain("The permanent copy is still being made, and this link may end. Reload later.");
}

/** Do one order from wherever it starts to its end; nothing else may be ordered meanwhile. */
async function work(begin) {
  $("make").disabled = true;
  try {
    const job = await begin();
    remember(job);
    await follow(job);
  } catch (error) {
    easel.fail(inWords(error));
  } finally {
    $("make").disabled = false;
  }
}

async function share() {
  $("share").disabled = true;
  try {
    const { job, url } = hanging;
    let shared = shareOf(url) ?? (await api.share(job, url, isStored(url), $("with-photo").checked));
    if (shared.token) keepShare(url, shared); // before it is published: the way back must not hang on that
    if (shared.token && !shared.listed && chosenReach() === "gallery") {
      shared = await api.publish(shared);
      keepShare(url, shared);
    }
    easel.shared(shared);
    await refresh(shared.id, hanging.job.prompt);
  } catch (error) {
    easel.complain(inWords(error));
  } finally {
    $("share").disabled = false;
  }
}

/** Delete the share of the picture that is shown; who has its link sees it no more. */
async function takeBack() {
  $("take-back").disabled = true;
  try {
    await api.takeBack(shareOf(hanging.url)).catch((error) => {
      if (error.status !== 404) throw error; // it is gone already
    });
    keepShare(hanging.url, null);
    easel.unshared();
    await refresh("", "");
  } catch (error) {
    easel.complain(inWords(error));
  } finally {
    $("take-back").disabled = false;
  }
}

async function copy(button, text) {
  const copied = navigator.clipboard?.writeText(text) ?? Promise.reject();
  await copied.catch(() => window.prompt("Copy this link:", text));
  const words = button.textContent;
  button.textContent = "Copied!";
  setTimeout(() => (button.textContent = words), COPIED_MS);
}

/** Offer the ratios of the chosen model only, and keep one of them chosen. */
function offerRatios() {
  const ratios = chosen("model").dataset.ratios.split(" ");
  for (const input of form.querySelectorAll("input[name=ratio]")) {
    input.closest("label").hidden = !ratios.includes(input.value);
  }
  if (!ratios.includes(chosen("ratio")?.value)) form.querySelector(`input[value="${ratios[0]}"]`).checked = true;
}

function showPicked() {
  const [file] = $("picture").files;
  const tooLarge = file && file.size > MAX_PICTURE_BYTES;
  $("picture").setCustomValidity(tooLarge ? "This picture is larger than 10 MB. Please choose a smaller one." : "");
  URL.revokeObjectURL($("preview").src);
  if (file) $("preview").src = URL.createObjectURL(file);
  $("preview").hidden = $("unpick").hidden = !file;
  $("picture-name").textContent = file ? file.name : "Start from a picture";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const since = Date.now();
  work(() => place(since));
});
form.addEventListener("change", offerRatios);
form.addEventListener("click", ({ target }) => {
  if ("idea" in target.dataset) $("prompt").value = target.textContent;
});
$("picture").addEventListener("change", showPicked);
$("unpick").addEventListener("click", () => {
  $("picture").value = "";
  showPicked();
});
$("share").addEventListener("click", share);
$("take-back").addEventListener("click", takeBack);
$("copy").addEventListener("click", ({ target }) => copy(target, new URL(hanging.url, location.href).href));
$("copy-share").addEventListener("click", ({ target }) => copy(target, $("share-link").value));

offerRatios();
$("make").disabled = false;
const unfinished = recall();
if (unfinished) {
  $("prompt").value = unfinished.prompt;
  work(async () => unfinished);
}
