// The calls of the original front end, in its words: what it sends, and what it reads of the answers (docs/rest.md#image-site-front-end).

const query = new URLSearchParams(location.search)
export const API = query.get('api')
export const PERMANENT = query.get('permanent')
export const TEMPORARY_HOST = 'tempfile.aiquickdraw.com'

// What the tests look at: every answer's status, and every error text seen while a picture was still being made.
export const seen = { statuses: [], non2xx: 0, errorsWhileRunning: [], calls: [] }
window.seen = seen

async function call(path, options) {
  seen.calls.push(`${options?.method ?? 'GET'} ${path.split('?')[0]}`)
  const answer = await fetch(API + path, options)
  seen.statuses.push(answer.status)
  if (!answer.ok) seen.non2xx += 1
  return answer
}

export async function get(path) {
  const answer = await call(path)
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
  return answer.json()
}

async function send(method, path, body) {
  const answer = await call(path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  const told = await answer.json() // an error that is no JSON breaks the original here
  if (!answer.ok) throw new Error(told.error)
  return told
}

// XMLHttpRequest, because it tells the progress of an upload.
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const form = new FormData()
    form.append('file', file)
    request.upload.onprogress = (event) => onProgress(Math.round((event.loaded / event.total) * 100))
    request.onerror = () => reject(new Error('network'))
    request.onload = () => {
      const told = JSON.parse(request.responseText)
      const fine = request.status >= 200 && request.status < 300 && told.success && told.fileUrl
      fine ? resolve(told.fileUrl) : reject(new Error(told.error))
    }
    seen.calls.push('POST /api/upload-image')
    request.open('POST', `${API}/api/upload-image`)
    request.send(form)
  })
}

const orders = {
  gpt4o: (prompt, urls) => [
    '/api/generate-image',
    { prompt, style: 'ghibli', size: '1:1', mode: urls.length ? 'image-to-image' : 'text-to-image', fileUrl: urls[0], enhancePrompt: false },
  ],
  flux: (prompt, urls) => [
    '/api/flux-kontext/generate',
    { prompt, model: 'flux-kontext-pro', aspectRatio: '1:1', inputImage: urls[0], enableTranslation: true, outputFormat: 'png', promptUpsampling: false },
  ],
  nano: (prompt, urls) => [
    '/api/nano-banana/generate',
    {
      model: urls.length ? 'nano-banana-edit' : 'nano-banana',
      input: { prompt, image_urls: urls.length ? urls : undefined, output_format: 'png', enable_translation: true, image_size: '1:1' },
    },
  ],
}

// A task id, or the URL of a picture that is done already.
export async function order(family, prompt, urls) {
  const told = await send('POST', ...orders[family](prompt, urls))
  const data = told.data ?? {}
  const url = told.url || told.urls?.[0] || (told.success && (data.url || data.urls?.[0]))
  const taskId = told.taskId || data.taskId
  if (!url && !taskId) throw new Error('no task id')
  return { url, taskId }
}

export const directLink = async (url, taskId) => (await send('POST', '/api/download-url', { url, taskId })).downloadUrl

export async function keep(url, taskId, fileName) {
  const told = await send('POST', '/api/download-and-upload', { kieImageUrl: url, taskId, fileName })
  return told.success && told.publicUrl
}

export const share = (body) => send('POST', '/api/share', body)
export const publish = (id, token) => send('PUT', `/api/share/${id}`, { action: 'publish', token })
