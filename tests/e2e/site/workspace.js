// The workspace: prompt, polling, the permanent copy, sharing and publishing, in the original's order.

import * as calls from './calls.js'
import { Gallery, latest } from './gallery.js'
import { wait } from './polling.js'

const byId = (id) => document.getElementById(id)
const say = (words) => { byId('state').textContent = words }
const gallery = new Gallery(byId('gallery'))
let current = {}
let shared = {}

const isPermanent = (url) => url.startsWith(calls.PERMANENT)

async function permanent(family, url, taskId) {
  const temporary = new URL(url).host === calls.TEMPORARY_HOST
  const name = `${family === 'nano' ? 'nanoBanana' : 'generated'}_${taskId}.png`
  try {
    if (family === 'gpt4o') {
      return temporary ? await calls.keep(await calls.directLink(url, taskId), taskId, name) : url
    }
    return isPermanent(url) ? url : (await calls.keep(url, taskId, name)) || url
  } catch {
    return url // any failure keeps the temporary URL
  }
}

async function shareIt() {
  const { url, original, prompt, family } = current
  shared = await calls.share({
    generatedUrl: url,
    originalUrl: original ?? null,
    prompt,
    style: 'ghibli',
    model: family,
    timestamp: Date.now(),
    isR2Stored: isPermanent(url),
  })
  if (!shared.success) throw new Error(shared.error)
  byId('share-url').textContent = shared.shareUrl
  byId('publish').disabled = !shared.publishToken
}

async function generate() {
  const family = byId('family').value
  const prompt = byId('prompt').value
  const urls = []
  for (const file of byId('files').files) urls.push(await calls.upload(file, (percent) => say(`uploading ${percent}`)))
  say('ordering')
  const { url: ready, taskId } = await calls.order(family, prompt, urls)
  say('waiting')
  const result = ready || (await wait(family, taskId, (percent) => { byId('progress').value = percent }))
  say('keeping')
  const url = await permanent(family, result, taskId)
  current = { url, original: urls[0], prompt, family, taskId }
  byId('picture').src = URL.createObjectURL(await (await fetch(url)).blob()) // the download button does so too
  byId('share').disabled = false
  if (isPermanent(url)) await shareIt()
  say('done')
}

const guarded = (work) => async (event) => {
  event?.preventDefault()
  byId('error').textContent = ''
  try {
    await work()
  } catch (problem) {
    byId('error').textContent = problem.message
    say('failed')
  }
}

byId('form').onsubmit = guarded(generate)
byId('share').onclick = guarded(shareIt)
byId('publish').onclick = guarded(async () => {
  const told = await calls.publish(shared.shareId, shared.publishToken)
  say(told.success && told.published ? 'published' : 'not published')
})
byId('more').onclick = guarded(() => gallery.more())
calls.get('/api/share/list?limit=12&offset=0&tb=120').catch(() => {}) // the home page's prefetch
latest(byId('latest'))
