// The page's side of a peer: the connection and its repair, the rooms, and what happens in them.

import { Bridge } from './bridge.js'
import { Room, meaning } from './room.js'

/** How often is asked what a bridge does not tell by itself, the original's: the number of peers, and what other clients changed. */
const REFRESH_MS = 3000
/** A connection that does not greet in that time is given up. */
const GREETING_MS = 10_000
/** Pauses before each attempt to connect again; the last one repeats. */
const RETRY_MS = [500, 1000, 2000, 4000, 8000]
/** How long expenses that come one after the other are gathered before the ledger is asked for. */
const GATHER_MS = 150

export class WrongToken extends Error {}

export class Session extends EventTarget {
  /** `offline`, `connecting`, `online`, `waiting` (to connect again). */
  status = 'offline'
  hello = null
  peers = 0
  current = null
  rooms = new Map()
  /** When the next attempt is made, while waiting. */
  retryAt = 0

  #bridge = null
  #connection = null
  #attempts = 0
  #timer = null
  /** Whether the bridge tells of changes by itself. */
  #isTold = false

  constructor () {
    super()
    setInterval(() => { if (!this.#isTold) this.refresh() }, REFRESH_MS)
    document.addEventListener('visibilitychange', () => this.refresh())
  }

  get url () { return this.#connection?.url ?? '' }

  /** Connects and enters the rooms. Throws why not, and is offline then. */
  async connect (connection) {
    this.disconnect()
    this.#connection = connection
    this.#set('connecting')
    try {
      await this.#open()
    } catch (error) {
      if (this.#connection === connection) this.disconnect()
      throw error
    }
  }

  disconnect () {
    clearTimeout(this.#timer)
    const bridge = this.#bridge
    this.#bridge = this.#connection = null
    this.#attempts = 0
    this.rooms.clear()
    this.current = null
    bridge?.close()
    this.#set('offline')
  }

  /** Tries again at once, while waiting. */
  async retry () {
    if (this.status !== 'waiting') return
    clearTimeout(this.#timer)
    this.#set('connecting')
    const connection = this.#connection
    try {
      await this.#open()
    } catch (error) {
      if (this.#connection !== connection) return
      if (error instanceof WrongToken) {
        this.disconnect()
        this.#tell('refused', { error })
      } else if (this.status === 'connecting') this.#wait()
    }
  }

  request (type, fields) {
    return this.#bridge ? this.#bridge.request(type, fields) : Promise.reject(new Error('There is no connection to the peer.'))
  }

  async #open () {
    const { url, token, room } = this.#connection
    const bridge = this.#bridge = new Bridge(url)
    const silent = setTimeout(() => bridge.close(), GREETING_MS)
    try {
      const hello = await bridge.hello.catch(() => {
        throw new Error(`No bridge answers at ${url}. Is the peer running, with --sc-bridge 1?`)
      })
      clearTimeout(silent)
      await bridge.request('auth', { token }).catch((error) => {
        throw error.message === 'Unauthorized.' ? new WrongToken('The peer does not accept this token.') : error
      })
      this.hello = hello
      bridge.addEventListener('message', ({ detail }) => this.#receive(detail))
      bridge.addEventListener('news', ({ detail }) => this.#learn(detail))
      this.#isTold = await bridge.request('watch').then(({ on }) => on === true, () => false)
      await this.#enter(bridge, room)
      if (bridge.ended) throw new Error('The connection to the peer was lost.')
    } catch (error) {
      clearTimeout(silent)
      bridge.close()
      throw error
    }
    if (this.#bridge !== bridge) return bridge.close()
    bridge.addEventListener('close', () => { if (this.#bridge === bridge) this.#wait() })
    this.#attempts = 0
    this.#set('online')
    this.refresh()
  }

  /** After a loss. */
  #wait () {
    const pause = RETRY_MS[Math.min(this.#attempts++, RETRY_MS.length - 1)]
    this.retryAt = Date.now() + pause
    this.#set('waiting')
    this.#timer = setTimeout(() => this.retry(), pause)
  }

  /** Finds out which rooms there are, listens to them, and joins again those that the peer forgot. */
  async #enter (bridge, wanted) {
    const { channels = [], connectionCount = 0 } = await bridge.request('stats')
    this.peers = connectionCount
    const memory = this.#memory()
    const entry = String(this.hello.entryChannel ?? '')
    for (const room of this.rooms.values()) room.joined = false
    for (const name of new Set([...(entry ? [entry] : []), ...channels.map(String)])) {
      const room = this.#room(name)
      room.joined = true
    }
    for (const name of memory.muted) if (this.rooms.has(name)) this.rooms.get(name).listening = false
    const forgotten = [...new Set([...memory.rooms, ...this.rooms.keys()])].filter((name) => !this.rooms.get(name)?.joined)
    const heard = [...this.rooms.values()].filter((room) => room.joined && room.listening)
    await bridge.request('subscribe', { channels: heard.map((room) => room.name) })
    for (const name of forgotten) {
      bridge.request('join', { channel: name }).then(() => this.#joined(name), (error) => this.#tell('trouble', { error }))
    }
    if (!this.current) {
      const names = [...this.rooms.keys()]
      const first = [wanted, memory.current].find((name) => this.rooms.has(name)) ?? names.find((name) => name !== entry) ?? names[0]
      if (first !== undefined) this.show(first)
      if (wanted && !this.rooms.has(wanted) && !forgotten.includes(wanted)) {
        this.join(wanted).catch((error) => this.#tell('trouble', { error }))
      }
    }
    this.#tell('rooms')
  }

  #room (name) {
    if (!this.rooms.has(name)) this.rooms.set(name, new Room(name))
    return this.rooms.get(name)
  }

  async #joined (name) {
    const room = this.#room(name)
    room.joined = true
    if (room.listening) await this.request('subscribe', { channels: [name] })
    this.#remember()
    this.#tell('rooms')
    return room
  }

  /** Joins a room, listens to it and shows it. */
  async join (name, credentials = {}) {
    const reply = await this.request('join', { channel: name, ...credentials })
    const room = await this.#joined(String(reply.channel ?? name))
    this.show(room.name)
    return room
  }

  isEntry (room) { return room?.name === this.hello?.entryChannel }

  async leave (room) {
    await this.request('leave', { channel: room.name })
    const names = [...this.rooms.keys()]
    const at = names.indexOf(room.name)
    this.rooms.delete(room.name)
    if (this.current === room) this.show(names[at + 1] ?? names[at - 1])
    this.#remember()
    this.#tell('rooms')
  }

  async listen (room, on) {
    await this.request(on ? 'subscribe' : 'unsubscribe', { channels: [room.name] })
    room.listening = on
    this.#remember()
    this.#tell('rooms')
  }

  show (name) {
    const room = this.rooms.get(name)
    if (!room) return
    this.current = room
    room.unread = 0
    this.#remember()
    this.#tell('current')
    this.#tell('rooms')
    this.refreshLedger(room)
  }

  /** What happens in a room that nobody looks at waits there as unread. */
  read () {
    if (!this.current?.unread) return
    this.current.unread = 0
    this.#tell('rooms')
  }

  async send (room, text) {
    const message = room.add({ from: this.hello.peer, mine: true, at: Date.now(), state: 'sending', about: meaning(text) })
    this.#tell('message', { room, message })
    await this.#deliver(room, message)
  }

  /** Sends a message again that failed. */
  async resend (room, message) {
    if (message.state !== 'failed') return
    message.state = 'sending'
    this.#tell('changed', { room, message })
    await this.#deliver(room, message)
  }

  async #deliver (room, message) {
    try {
      await this.request('send', { channel: room.name, message: message.about.text })
      message.state = 'sent'
    } catch (error) {
      message.state = 'failed'
      message.error = error.message
    }
    this.#tell('changed', { room, message })
  }

  /** Notes what this page did to the ledger: the bridge tells it to others only. */
  noteOwn (room, about) {
    const message = room.add({ from: this.hello.peer, mine: true, at: Date.now(), state: 'sent', about })
    this.#tell('message', { room, message })
    return this.refreshLedger(room)
  }

  #receive ({ channel, from, message: body }) {
    const room = this.rooms.get(channel)
    if (!room || !room.listening) return
    const message = room.add({ from: String(from ?? ''), mine: false, at: Date.now(), state: 'received', about: meaning(body) })
    const isSeen = room === this.current && document.visibilityState === 'visible'
    if (!isSeen) room.unread++
    this.#tell('message', { room, message })
    if (!isSeen) this.#tell('rooms')
    if (['expense', 'clear'].includes(message.about.kind)) {
      room.gathering ??= setTimeout(() => {
        room.gathering = undefined
        this.refreshLedger(room)
      }, GATHER_MS)
    }
  }

  async refresh () {
    if (this.status !== 'online' || document.visibilityState !== 'visible') return
    this.read()
    try {
      await this.#count(await this.request('stats'))
    } catch { /* The connection tells by itself when it is lost. */ }
    if (this.current) this.refreshLedger(this.current)
  }

  async #count (stats) {
    this.peers = Number(stats.connectionCount) || 0
    // Joined by others, in the terminal for example. What they left stays in view until it is left here.
    const fresh = (stats.channels ?? []).map(String).filter((name) => !this.rooms.get(name)?.joined)
    for (const name of fresh) await this.#joined(name)
    this.#tell('stats')
  }

  /** What the bridge tells by itself. A room that is not shown is asked for when it is. */
  #learn (news) {
    if (this.status !== 'online') return
    if (news.type === 'stats_changed') this.#count(news).catch(() => {})
    else if (this.current && [null, this.current.name].includes(news.channel)) this.refreshLedger(this.current)
  }

  /** Asks for the ledger, if it is another than before. One question at a time for each room. */
  refreshLedger (room) {
    if (room.asking) {
      room.askAgain = true
      return room.asking
    }
    room.asking = this.#askLedger(room).finally(() => {
      room.asking = undefined
      if (!room.askAgain) return
      room.askAgain = false
      return this.refreshLedger(room)
    })
    return room.asking
  }

  async #askLedger (room) {
    try {
      const { summary } = await this.request('expense_balance', { channel: room.name })
      const seen = JSON.stringify(summary)
      if (seen === room.seen && !room.ledgerError) return
      const { events } = await this.request('expense_list', { channel: room.name, verify: true })
      Object.assign(room, { summary, seen, events: Array.isArray(events) ? events : [], ledgerError: null })
    } catch (error) {
      if (this.status !== 'online' || room.ledgerError === error.message) return
      room.ledgerError = error.message
    }
    this.#tell('ledger', { room })
  }

  #memoryKey () { return 'intercom.rooms.' + String(this.hello?.peer ?? '').slice(0, 16) }

  /** The rooms that this browser was in at this peer. */
  #memory () {
    const names = (value) => Array.isArray(value) ? value.filter((name) => typeof name === 'string') : []
    try {
      const memory = JSON.parse(localStorage.getItem(this.#memoryKey())) ?? {}
      return { rooms: names(memory.rooms), muted: names(memory.muted), current: memory.current }
    } catch {
      return { rooms: [], muted: [], current: undefined }
    }
  }

  #remember () {
    const rooms = [...this.rooms.values()]
    const muted = rooms.filter((room) => !room.listening).map((room) => room.name)
    try {
      localStorage.setItem(this.#memoryKey(), JSON.stringify({ rooms: rooms.map((room) => room.name), muted, current: this.current?.name }))
    } catch { /* A browser that keeps nothing begins anew. */ }
  }

  #set (status) {
    if (this.status === status) return
    this.status = status
    this.#tell('status')
  }

  #tell (type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })) }
}
