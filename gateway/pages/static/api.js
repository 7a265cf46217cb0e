/** Speaks the gateway's image-site JSON, so that the rest of the page knows neither its routes nor its shapes. */

const ATTEMPT = "kawaii.attempt";
const UNCLEAR = [0, 503, 504]; // no answer, or none from the service: the order may have arrived

/** A refusal or a failure, in words for people; status is 0 when no answer came at all. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const FAMILIES = {
  gpt4o: {
    create: "/api/generate-image",
    details: "/api/image-details",
    order: ({ prompt, ratio, fileUrl }) => ({
      prompt,
      size: ratio,
      mode: fileUrl ? "image-to-image" : "text-to-image",
      fileUrl,
    }),
    record: (body) => body.data?.data ?? {},
  },
  flux: {
    create: "/api/flux-kontext/generate",
    details: "/api/flux-kontext/image-details",
    order: ({ prompt, model, ratio, fileUrl }) => ({ prompt, model, aspectRatio: ratio, inputImage: fileUrl }),
    record: (body) => body.data ?? {},
  },
};

async function call(path, init = {}) {
  const response = await fetch(path, { cache: "no-store", ...init }).catch(() => {
    throw new ApiError("The server cannot be reached. Check your connection and try again.", 0);
  });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(body.error || `The server answered with ${response.status}.`, response.status);
  return body;
}

function post(path, json, headers = {}) {
  const init = { method: "POST", headers: { "Content-Type": "application/json", ...headers } };
  return call(path, { ...init, body: typeof json === "string" ? json : JSON.stringify(json) });
}

/** One key for one order: repeating it after a lost answer joins the first generation, and is not billed twice. */
function keyOf(order) {
  const held = JSON.parse(sessionStorage.getItem(ATTEMPT) ?? "{}");
  if (held.order === order) return held.key;
  const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
  sessionStorage.setItem(ATTEMPT, JSON.stringify({ order, key }));
  return key;
}

/** Order a picture; returns its task id. */
export async function create(order) {
  const { create: path, order: shape } = FAMILIES[order.family];
  const json = JSON.stringify(shape(order));
  try {
    const body = await post(path, json, { "Idempotency-Key": keyOf(json) });
    sessionStorage.removeItem(ATTEMPT);
    return body.taskId;
  } catch (error) {
    if (!UNCLEAR.includes(error.status)) sessionStorage.removeItem(ATTEMPT);
    throw error;
  }
}

/** How a task stands: state is working, done or failed; percent is null when it is not known. */
export async function details({ family, taskId }) {
  const { details: path, record } = FAMILIES[family];
  return news(record(await call(`${path}?taskId=${encodeURIComponent(taskId)}`)));
}

function news(record) {
  const urls = record.resultUrls ?? record.response?.resultUrls ?? [];
  const percent = Number.parseInt(record.progress ?? record.raw?.progress, 10);
  return {
    state: stateOf(record),
    percent: Number.isNaN(percent) ? null : percent,
    url: urls[0] ?? "",
    message: record.errorMessage ?? "",
  };
}

function stateOf({ status = "", successFlag = 0 }) {
  if (status === "SUCCESS" || successFlag === 1) return "done";
  return status.endsWith("FAILED") || successFlag > 1 ? "failed" : "working";
}

/** The URL of a task's permanent copy; empty while there is none. */
export async function storedUrl({ taskId }) {
  const body = await call(`/api/get-generated-url?taskId=${encodeURIComponent(taskId)}`);
  return body.found ? body.url : "";
}

/** Keep a picture to start from; returns its URL. */
export async function upload(file) {
  const form = new FormData();
  form.append("file", file);
  return (await call("/api/upload-image", { method: "POST", body: form })).fileUrl;
}

/**
 * Share a finished picture by its link alone, with the picture it was made from or without.
 * Returns the share's id, its link, and the token of its maker; that is empty when somebody had shared it before.
 */
export async function share({ prompt, model, fileUrl, madeAt }, url, stored, withPhoto) {
  const body = await post("/api/share", {
    generatedUrl: url,
    originalUrl: (withPhoto && fileUrl) || "",
    unlisted: true,
    prompt,
    model,
    timestamp: madeAt,
    isR2Stored: stored,
  });
  return { id: body.shareId, link: body.shareUrl, token: body.publishToken ?? "", listed: false };
}

/** Put a share into the gallery, with the token that its maker was given; returns the share as it is then. */
export async function publish(shared) {
  const headers = { "Content-Type": "application/json", "X-Share-Token": shared.token };
  const init = { method: "PUT", headers, body: JSON.stringify({ action: "publish" }) };
  await call(`/api/share/${encodeURIComponent(shared.id)}`, init);
  return { ...shared, listed: true };
}

/** Delete a share with its token. */
export function takeBack({ id, token }) {
  return call(`/api/share/${encodeURIComponent(id)}`, { method: "DELETE", headers: { "X-Share-Token": token } });
}

/** The newest shares. */
export async function latest() {
  return (await call("/api/share/latest")).data.items;
}
