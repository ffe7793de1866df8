'use strict'
// Rust streams against udx-native, both ways, over a good link and a bad one.
//
//   cargo build --release -p udx --example udx-peer && node --test interop-tests/udx/
//
// UDX_PEER names another binary than target/release/examples/udx-peer.

const test = require('node:test')
const assert = require('node:assert')
const path = require('path')
const { spawn } = require('child_process')
const readline = require('readline')
const { once } = require('events')
const proxy = require('./proxy')

const root = path.join(__dirname, '..', '..')
const binary = process.env.UDX_PEER || path.join(root, 'target', 'release', 'examples', 'udx-peer')
const versions = ['pinned', 'latest']

const pattern = (offset) => Math.imul(offset, 0x9e3779b1) >>> 24

function block (from, length) {
  const data = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) data[at] = pattern(from + at)
  return data
}

/** The Rust end: its lines as objects, the last of which says how it went. */
class RustPeer {
  constructor (args) {
    this.child = spawn(binary, ['--id', '2', '--remote-id', '1', ...args.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] })
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

  async line (key) {
    for (;;) {
      const found = this.lines.find((line) => key in line)
      if (found) return found
      if (this.gone) throw this.gone
      await new Promise((resolve) => this.waiting.push(resolve))
    }
  }

  connect (port) { this.child.stdin.write('127.0.0.1:' + port + '\n') }
}

/** The JavaScript end: sends a pattern, checks a pattern. */
class JsPeer {
  constructor (version, { seq = 0, firewall } = {}) {
    const UDX = require(path.join(root, 'interop-tests', version, 'node_modules', 'udx-native'))
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

  async send (total, { end = true } = {}) {
    for (let sent = 0; sent < total; sent += 50000) {
      const full = !this.stream.write(block(sent, Math.min(50000, total - sent)))
      if (full) await Promise.race([once(this.stream, 'drain'), this.closed])
      if (this.stream.destroyed) return
    }
    if (end) this.stream.end()
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
    if (!other.gone) other.child.kill()
    await other.exited
    await peer.close()
    if (between) between.close()
  })
  return { peer, other }
}

const links = {
  direct: null,
  'delay 5 ms': { seed: 3, delay: 5 },
  'loss 1 %, reordering': { seed: 5, delay: 5, loss: 0.01, reorder: 0.05, duplicate: 0.01 },
  'loss 10 %': { seed: 7, delay: 2, loss: 0.1 }
}

for (const version of versions) {
  for (const [name, link] of Object.entries(links)) {
    const bytes = link ? 1_000_000 : 20_000_000
    for (const first of ['js', 'rust']) {
      test(`${version}: both ways, ${first} first, ${name}`, { timeout: 120_000 }, async (t) => {
        const { peer, other } = await pair(t, version, { first, link, rust: ['--send', bytes + 1, '--linger', link ? 9000 : 0] })
        // A JavaScript stream forgets all when both sides ended. Where its last acknowledgement may be lost, the other side
        // could never learn that its bytes arrived, so there JavaScript ends last.
        const options = { end: !link }
        const started = first === 'js' ? Promise.resolve() : once(peer.stream, 'data')
        await started.then(() => peer.send(bytes, options))
        await peer.ended
        if (link) peer.stream.end()
        const result = await other.line('closed')
        await peer.closed
        assert.deepStrictEqual([result.closed, result.received, result.sent], ['finished', String(bytes), String(bytes + 1)])
        assert.deepStrictEqual([peer.wrong, peer.received, peer.error], [-1, bytes + 1, null])
        if (!link) assert.strictEqual(result.mtu, 1500)
      })
    }
  }

  test(`${version}: many small writes, echoed`, { timeout: 60_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { rust: ['--echo'] })
    for (let sent = 0; sent < 200_000; sent += 20) peer.stream.write(block(sent, 20))
    peer.stream.end()
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, peer.received, peer.wrong], ['finished', 200_000, -1])
  })

  test(`${version}: packet numbers wrap`, { timeout: 60_000 }, async (t) => {
    const ours = 4294967200
    const theirs = 4294967290
    const rust = ['--send', 2_000_000, '--seq', ours, '--ack', theirs]
    const { peer, other } = await pair(t, version, { rust, js: { seq: theirs, connect: { ack: ours } } })
    await peer.send(2_000_000)
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received], ['finished', '2000000'])
    assert.deepStrictEqual([peer.received, peer.wrong, peer.error], [2_000_000, -1, null])
  })

  test(`${version}: a slow reader holds the sender back`, { timeout: 120_000 }, async (t) => {
    const bytes = 24_000_000
    const { peer, other } = await pair(t, version, { rust: ['--slow', 20] })
    await peer.send(bytes)
    const result = await other.line('closed')
    assert.deepStrictEqual([result.closed, result.received], ['finished', String(bytes)])
    await peer.closed
    assert.strictEqual(peer.error, null)
  })

  test(`${version}: unordered messages`, { timeout: 30_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { first: 'rust', rust: ['--messages', 5] })
    while (peer.messages.length < 5) await once(peer.stream, 'message')
    await peer.stream.send(Buffer.from('to rust'))
    await peer.stream.send(Buffer.alloc(0))
    assert.strictEqual((await other.line('message')).message, 'to rust')
    peer.stream.end()
    assert.strictEqual((await other.line('closed')).closed, 'finished')
    assert.deepStrictEqual(peer.messages, [0, 1, 2, 3, 4].map((index) => 'message ' + index))
  })

  test(`${version}: JavaScript destroys`, { timeout: 30_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { rust: ['--send', 100_000_000] })
    peer.stream.write(block(0, 10))
    await once(peer.stream, 'data')
    peer.stream.destroy()
    assert.strictEqual((await other.line('closed')).closed, 'the peer destroyed the stream')
  })

  test(`${version}: Rust destroys`, { timeout: 30_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { first: 'rust', rust: ['--send', 10_000_000, '--destroy-after', 100_000] })
    assert.strictEqual((await other.line('closed')).closed, 'the stream was destroyed')
    await peer.closed
    assert.strictEqual(peer.error.code, 'ECONNRESET')
  })

  test(`${version}: Rust moves to another socket`, { timeout: 60_000 }, async (t) => {
    const bytes = 6_000_000
    const { peer, other } = await pair(t, version, { first: 'rust', rust: ['--send', bytes, '--move-after', 3_000_000] })
    await other.line('moved')
    peer.stream.end()
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, peer.received, peer.wrong], ['finished', bytes, -1])
  })

  test(`${version}: JavaScript moves to another socket`, { timeout: 60_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { rust: ['--send', 3_000_000], js: { firewall: () => false } })
    peer.stream.write(block(0, 1_000_000))
    await once(peer.stream, 'data')
    const second = peer.udx.createSocket()
    second.bind(0, '127.0.0.1')
    t.after(() => second.close())
    await peer.stream.changeRemote(second, 2, (await other.line('port')).port, '127.0.0.1')
    peer.stream.end(block(1_000_000, 1_000_000))
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received, peer.received], ['finished', '2000000', 3_000_000])
  })
}
