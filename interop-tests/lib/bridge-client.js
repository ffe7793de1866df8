'use strict'
// A client of a peer's SC-Bridge.

const WebSocket = require('../peer/stack')('latest').ws.WebSocket

const CONNECT_EVERY_MS = 5
const STATS_EVERY_MS = 5

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

class BridgeClient {
  constructor (socket) {
    this.socket = socket
    this.next = 1
    this.calls = new Map()
    this.messages = [] // every sidechannel_message, in order
    this.waiting = new Set()
    this.closed = null
    socket.on('message', (data) => this._onmessage(JSON.parse(data)))
    socket.on('close', () => this._end(new Error('the bridge closed the connection')))
    socket.on('error', (err) => this._end(err))
  }

  /**
   * Connect to a port that is about to be opened, and authenticate. `alive()` false ends the attempts: whether the
   * port is open can only be asked, so it is asked every few milliseconds.
   */
  static async connect (port, token, { alive = () => true, ms = 30_000 } = {}) {
    const until = performance.now() + ms
    let client = null
    while (!client) {
      if (!alive()) throw new Error('the peer ended before its bridge opened')
      if (performance.now() > until) throw new Error('no bridge at port ' + port + ' in ' + ms + ' ms')
      client = await BridgeClient._attempt(port)
      if (!client) await pause(CONNECT_EVERY_MS)
    }
    await client.hello
    await client.call({ type: 'auth', token })
    return client
  }

  static _attempt (port) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket('ws://127.0.0.1:' + port, { perMessageDeflate: false, maxPayload: 64 << 20 })
      const client = new BridgeClient(socket)
      client.hello = new Promise((resolve) => { client._onhello = resolve })
      socket.once('open', () => resolve(client))
      socket.once('error', (err) => err.code === 'ECONNREFUSED' ? resolve(null) : reject(err))
    })
  }

  call (request, ms = 20_000) {
    if (this.closed) return Promise.reject(this.closed)
    const id = this.next++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.calls.delete(id)
        reject(new Error('no reply to ' + request.type + ' in ' + ms + ' ms'))
      }, ms)
      this.calls.set(id, { resolve, reject, timer })
      this.socket.send(JSON.stringify({ ...request, id }))
    })
  }

  send (channel, message) {
    return this.call({ type: 'send', channel, message }, 60_000)
  }

  /** Ask `stats` until `enough(stats)`: the bridge has no event for it. */
  async stats (enough, ms = 30_000) {
    const until = performance.now() + ms
    for (;;) {
      const stats = await this.call({ type: 'stats' })
      if (enough(stats)) return stats
      if (performance.now() > until) throw new Error('not reached in ' + ms + ' ms; the last stats: ' + JSON.stringify(stats))
      await pause(STATS_EVERY_MS)
    }
  }

  started (ms) {
    return this.stats((s) => s.sidechannelStarted, ms)
  }

  connected (count = 1, ms = undefined) {
    return this.stats((s) => s.connectionCount >= count, ms)
  }

  /** The first message, also one that is here already, that `match` accepts. */
  message (match, ms = 20_000) {
    const here = this.messages.find(match)
    if (here) return Promise.resolve(here)
    if (this.closed) return Promise.reject(this.closed)
    return new Promise((resolve, reject) => {
      const waiter = { match, resolve, reject, timer: null }
      waiter.timer = setTimeout(() => {
        this.waiting.delete(waiter)
        reject(new Error('the message did not come in ' + ms + ' ms; ' + this.messages.length + ' others came'))
      }, ms)
      this.waiting.add(waiter)
    })
  }

  close () {
    this._end(new Error('closed by the test'))
    this.socket.terminate()
  }

  _onmessage (message) {
    if (message.type === 'hello') {
      this.peer = message.peer
      return this._onhello(message)
    }
    if (message.type === 'sidechannel_message') {
      this.messages.push(message)
      for (const waiter of [...this.waiting]) {
        if (!waiter.match(message)) continue
        this.waiting.delete(waiter)
        clearTimeout(waiter.timer)
        waiter.resolve(message)
      }
      return
    }
    const call = this.calls.get(message.id)
    if (!call) return
    this.calls.delete(message.id)
    clearTimeout(call.timer)
    if (message.type === 'error') call.reject(new Error(message.error))
    else call.resolve(message)
  }

  _end (err) {
    if (this.closed) return
    this.closed = err
    for (const call of this.calls.values()) {
      clearTimeout(call.timer)
      call.reject(err)
    }
    for (const waiter of this.waiting) {
      clearTimeout(waiter.timer)
      waiter.reject(err)
    }
    this.calls.clear()
    this.waiting.clear()
  }
}

module.exports = { BridgeClient }
