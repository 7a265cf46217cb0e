// Calls the stack as the community's public front end does (docs/rest.md#community-front-end): bearer and cookies, no-store, data unwrapped.
const settings = new URLSearchParams(location.search);
export const stack = settings.get("stack");
const token = settings.get("token");
const POLL_MS = Number(settings.get("interval") ?? 5000); // the original waits five seconds; the tests hurry
const MAX_POLLS = 60;

export async function call(method, path, body) {
  const form = body instanceof FormData;
  const headers = form || body === undefined ? {} : { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(stack + path, {
    method,
    headers,
    body: form ? body : body === undefined ? undefined : JSON.stringify(body),
    credentials: "include",
    cache: "no-store",
  });
  const read = await answer.json();
  if (!answer.ok) throw read; // the original throws the parsed body, not an Error
  return "data" in read ? read.data : read;
}

// Ends at the first answer that is not 2xx, at `completed`, at `failed`, or after sixty looks.
export async function finished(id) {
  for (let look = 0; look < MAX_POLLS; look += 1) {
    const task = await call("GET", `/api/artworks/task-status/${id}`);
    if (task.status === "completed" || task.status === "failed") return task;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw { code: "TIMEOUT", message: "generation timed out" };
}

export function show(id, text) {
  document.getElementById(id).textContent = text;
}

export async function guarded(work) {
  try {
    await work();
  } catch (failure) {
    show("error", `${failure.code}: ${failure.message}`);
  }
}
