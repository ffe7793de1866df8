'use strict'
// The two ends of the streams in these tests: a Rust process and udx-native in this one.

const path = require('path')
const { spawn } = require('child_process')
const readline = require('readline')
const { once } = require('events')
const proxy = require('./proxy')

const root = path.join(__dirname, '..', '..')
const binary = process.env.UDX_PEER || path.join(root, 'target', 'release', 'examples', 'udx-peer')

/** Where the generations are. UDX_NATIVE="1.20.7=/folder/of/udx-native,…" names others (scripts/udx-versions). */
const installs = process.env.UDX_NATIVE
  ? Object.fromEntries(process.env.UDX_NATIVE.split(',').map((entry) => entry.split('=')))
  : Object.fromEntries(['pinned', 'latest'].map((name) => [name, path.join(root, 'interop-tests', name, 'node_modules', 'udx-native')]))
const versions = Object.keys(installs)

const pattern = (offset) => Math.imul(offset, 0x9e3779b1) >>> 24

function block (from, length) {
  const data = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) data[at] = pattern(from + at)
  return data
}

/** A Rust process: its lines as objects, the last of which says how it went. */
class RustProcess {
  constructor (args) {
    this.child = spawn(binary, args.map(String), { stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = []
    this.waiting = []
    this.gone = null
    readline.createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line))
      for (const look of this.waiting.splice(0)) look()
    })
    // A peer that cannot start, or ends before it said what a test waits for, fails that test at once.
    this.exited = new Promise((resolve) => {
      this.child.once('error', (err) => { this.gone = err; resolve() })
      this.child.once('close', (code) => { this.gone ??= new Error('the Rust peer ended with code ' + code); resolve() })
    }).then(() => { for (const look of this.waiting.splice(0)) look() })
  }

  /** The first line that has `key`, with `value` if that is given. */
  async line (key, value) {
    for (;;) {
      const found = this.lines.find((line) => key in line && (value === undefined || line[key] === value))
      if (found) return found
      if (this.gone) throw this.gone
      await new Promise((resolve) => this.waiting.push(resolve))
    }
  }

  say (line) { this.child.stdin.write(line + '\n') }

  async close () {
    if (!this.gone) this.child.kill()
    await this.exited
  }
}

/** The Rust end of a stream. */
class RustPeer extends RustProcess {
  constructor (args, { id = 2, remoteId = 1 } = {}) {
    super(['--id', id, '--remote-id', remoteId, ...args])
  }

  connect (port) { this.say('127.0.0.1:' + port) }
}

/** Streams that lead into each other: leg n has the id 100 + n. */
class RustRelay extends RustProcess {
  constructor (legs) { super(['--relay', legs]) }

  leg (number, port, id) { this.say(`${number} 127.0.0.1:${port} ${id}`) }
}

/** The JavaScript end: sends a pattern, checks a pattern. */
class JsPeer {
  constructor (version, { seq = 0, firewall } = {}) {
    const UDX = require(installs[version])
    this.udx = new UDX()
    this.socket = this.udx.createSocket()
    this.socket.bind(0, '127.0.0.1')
    this.stream = this.udx.createStream(1, { seq, firewall })
    this.port = this.socket.address().port
    this.received = 0
    this.wrong = -1
    this.messages = []
    this.error = null
    this.stream.on('data', (data) => {
      for (let at = 0; at < data.length && this.wrong < 0; at++) {
        if (data[at] !== pattern(this.received + at)) this.wrong = this.received + at
      }
      this.received += data.length
    })
    this.stream.on('message', (data) => this.messages.push(data.toString()))
    this.stream.on('error', (err) => { this.error = err })
    this.ended = new Promise((resolve) => this.stream.once('end', resolve))
    this.closed = new Promise((resolve) => this.stream.once('close', resolve))
  }

  /** Bytes `from` to `total` of the pattern. */
  async send (total, { from = 0, end = true } = {}) {
    for (let sent = from; sent < total; sent += 50000) {
      const full = !this.stream.write(block(sent, Math.min(50000, total - sent)))
      if (full) await Promise.race([once(this.stream, 'drain'), this.closed])
      if (this.stream.destroyed) return
    }
    if (end) this.stream.end()
  }

  /** Waits until so many bytes are there. */
  async has (bytes) {
    while (this.received < bytes && !this.stream.destroyed) await Promise.race([once(this.stream, 'data'), this.closed])
  }

  async close () {
    this.stream.destroy()
    await this.closed
    await this.socket.close()
  }
}

/** Both ends, joined directly or through a proxy, JavaScript or Rust speaking first. */
async function pair (t, version, { first = 'js', link = null, rust = [], js = {} }) {
  const peer = new JsPeer(version, js)
  const accept = first === 'js'
  const other = new RustPeer(accept ? ['--accept', ...rust] : rust)
  const { port } = await other.line('port')
  const between = link && await proxy(link)
  if (between) {
    between.to(0, peer.port)
    between.to(1, port)
  }
  peer.stream.connect(peer.socket, 2, between ? between.ports[0] : port, '127.0.0.1', js.connect)
  if (!accept) other.connect(between ? between.ports[1] : peer.port)
  t.after(async () => {
    await other.close()
    await peer.close()
    if (between) between.close()
  })
  return { peer, other }
}

module.exports = { versions, installs, pattern, block, RustPeer, RustRelay, JsPeer, pair }
