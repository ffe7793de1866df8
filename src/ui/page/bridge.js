// A connection to an SC-Bridge: JSON over a WebSocket, with the messages of the original and nothing else.

/** How long an answer may take, in milliseconds; a settlement takes its time. */
const TIMEOUTS = { expense_persist: 65_000, expense_restore: 30_000, expense_export: 20_000, expense_balance: 20_000 }
const TIMEOUT = 12_000

export class Bridge extends EventTarget {
  #socket
  #next = 1
  #pending = new Map()

  /** Events: `message` (detail: a sidechannel message), `news` (detail: what changed, once `watch` was asked for), `close`. */
  constructor (url) {
    super()
    this.#socket = new WebSocket(url)
    this.hello = new Promise((resolve, reject) => { this.#greeted = resolve; this.#lost = reject })
    this.hello.catch(() => {})
    this.#socket.addEventListener('message', ({ data }) => this.#receive(data))
    this.#socket.addEventListener('close', () => this.#end())
  }

  #greeted
  #lost

  /** Asks, and gives the answer; an error that is answered is thrown. */
  request (type, fields = {}) {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error('There is no connection to the peer.'))
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const ms = TIMEOUTS[type] ?? TIMEOUT
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        reject(new Error(`The peer did not answer in ${Math.round(ms / 1000)} seconds (${type}).`))
      }, ms)
      this.#pending.set(id, { resolve, reject, timer })
      this.#socket.send(JSON.stringify({ id, type, ...fields }))
    })
  }

  close () {
    this.#socket.close()
    this.#end()
  }

  #receive (data) {
    let message
    try { message = JSON.parse(data) } catch { return }
    if (message === null || typeof message !== 'object') return
    const call = Number.isInteger(message.id) && this.#pending.get(message.id)
    if (call) {
      this.#pending.delete(message.id)
      clearTimeout(call.timer)
      if (message.type === 'error') call.reject(new Error(String(message.error || 'The peer refused, and did not say why.')))
      else call.resolve(message)
    } else if (message.type === 'hello') {
      this.#greeted(message)
    } else if (message.type === 'sidechannel_message') {
      this.dispatchEvent(new CustomEvent('message', { detail: message }))
    } else if (message.type === 'expenses_changed' || message.type === 'stats_changed') {
      this.dispatchEvent(new CustomEvent('news', { detail: message }))
    }
  }

  #end () {
    if (this.ended) return
    this.ended = true
    const error = new Error('The connection to the peer was lost.')
    this.#lost(error)
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer)
      reject(error)
    }
    this.#pending.clear()
    this.dispatchEvent(new Event('close'))
  }
}
