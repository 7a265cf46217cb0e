// The latest shares and the gallery as the original front end loads them (docs/rest.md#image-site-front-end).

import { get } from './calls.js'

const PAGE = 18
const FOLLOWS = 30
const FOLLOW_EVERY = 180
const LATEST_EVERY = 10 * 60 * 1000

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

function tile(list, item) {
  const element = document.createElement('li')
  element.dataset.id = item.id
  const picture = document.createElement('img')
  picture.src = item.generatedUrl
  picture.alt = item.style
  element.append(picture)
  list.append(element)
}

export async function latest(list) {
  const told = await get('/api/share/latest')
  if (told.success && told.data.items.length) {
    list.replaceChildren()
    told.data.items.forEach((item) => tile(list, item))
  }
  setTimeout(() => latest(list), LATEST_EVERY)
}

export class Gallery {
  constructor(list) {
    this.list = list
    this.ids = new Set()
    this.offset = 0
    this.cursor = undefined
    this.hasMore = true
  }

  // One screen more: cursors are followed while the page is not full, ids seen before are dropped, errors end it.
  async more() {
    const wanted = this.ids.size + PAGE
    for (let follows = 0; this.hasMore && this.ids.size < wanted && follows < FOLLOWS; follows += 1) {
      const from = this.cursor === undefined ? `offset=${this.offset}` : `cursor=${this.cursor}&tb=700`
      let told
      try {
        told = await get(`/api/share/list?limit=${PAGE}&${from}`)
      } catch {
        this.hasMore = false
        return
      }
      this.take(told)
      await sleep(FOLLOW_EVERY)
    }
  }

  take({ success, data }) {
    const fresh = success ? data.items.filter((item) => !this.ids.has(item.id)) : []
    fresh.forEach((item) => {
      this.ids.add(item.id)
      tile(this.list, item)
    })
    this.offset += data.items.length
    const next = Number(data.cursor)
    this.cursor = data.cursor !== undefined && Number.isFinite(next) ? next : undefined
    this.hasMore = data.hasMore && this.cursor !== undefined
  }
}
