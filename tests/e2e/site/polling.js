// The polling rules of the original front end (docs/rest.md#image-site-front-end): intervals, patience, and what counts as a failure.

import { get, seen } from './calls.js'

const INTERVAL = 2000
const WINDOW = 5 * 60 * 1000
const HTTP_ERRORS = 3 // in the whole life of a task; the counter never goes back
const GPT4O_FAILURES = 5 // in a row
const SEARCHES = 15

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Each reads one answer: { url } when done, { failure } when failed, { progress } while running.
const readers = {
  gpt4o: {
    path: '/api/image-details',
    afterTrouble: 5000,
    failures: GPT4O_FAILURES,
    read(told) {
      const record = told.data?.data ?? told.data ?? told
      const response = record.response ?? {}
      const url = response.result_urls?.[0] ?? response.resultUrls?.[0]
      const error = record.errorMessage || record.error
      const failed = record.successFlag === 2 || record.successFlag === 3 || record.status === 'FAILED' || record.status === 'GENERATE_FAILED'
      if (record.status === 'SUCCESS' || record.successFlag === 1) return { done: true, url }
      if (failed || error) {
        if (!failed) seen.errorsWhileRunning.push(error)
        return { failure: error || record.status }
      }
      const percent = record.progress ?? record.progressPercent ?? record.percentage ?? 0
      return { progress: Math.min(100, Math.max(0, Math.floor(percent))) }
    },
  },
  flux: {
    path: '/api/flux-kontext/image-details',
    afterTrouble: 3000,
    failures: 1,
    read({ data }) {
      if (data.status === 'SUCCESS') return { done: true, url: data.resultUrls[0] }
      if (data.status === 'FAILED') return { failure: data.errorMessage }
      if (data.errorMessage) seen.errorsWhileRunning.push(data.errorMessage)
      return {}
    },
  },
  nano: {
    path: '/api/nano-banana/image-details',
    afterTrouble: 3000,
    failures: 1,
    read({ data: { data } }) {
      if (data.state === 'success') return { done: true, url: data.resultUrls[0] }
      if (data.state === 'fail') return { failure: data.failMsg }
      if (data.failMsg) seen.errorsWhileRunning.push(data.failMsg)
      return {}
    },
  },
}

export async function wait(family, taskId, onProgress) {
  const { path, afterTrouble, failures, read } = readers[family]
  const end = Date.now() + WINDOW
  let errors = 0
  let failing = 0
  while (Date.now() < end) {
    let found
    try {
      found = read(await get(`${path}?taskId=${encodeURIComponent(taskId)}`))
    } catch (problem) {
      errors += 1
      if (errors >= HTTP_ERRORS) throw problem
      await sleep(afterTrouble)
      continue
    }
    if (found.done) return found.url || search(taskId)
    failing = found.failure ? failing + 1 : 0
    if (failing >= failures) throw new Error(found.failure)
    if (found.progress !== undefined) onProgress(found.progress)
    await sleep(found.failure ? afterTrouble : INTERVAL)
  }
  throw new Error('timeout')
}

async function search(taskId) {
  for (let tries = 0; tries < SEARCHES; tries += 1) {
    const told = await get(`/api/get-generated-url?taskId=${encodeURIComponent(taskId)}`)
    if (told.found) return told.url
    await sleep(INTERVAL)
  }
  throw new Error('success without a picture')
}
