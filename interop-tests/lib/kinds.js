'use strict'
// The kinds of peers and of DHT operators, and how each is started.

const fs = require('fs')
const net = require('net')
const os = require('os')
const path = require('path')
const { Process, Worker } = require('./process')
const { BridgeClient } = require('./bridge-client')

const ROOT = path.join(__dirname, '..')
const TARGET = process.env.CARGO_TARGET_DIR || path.join(ROOT, '..', 'target')
const words = (text) => text.split(' ').filter(Boolean)

const RUST = words(process.env.INTERCOM_RUST || path.join(TARGET, 'release', 'intercom'))
const RUST_DHT = words(process.env.INTERCOM_RUST_DHT || [...RUST, 'dht'].join(' '))
const RUST_NODE = words(process.env.INTERCOM_RUST_NODE || path.join(TARGET, 'release', 'intercom-bench') + ' node')
const ORIGINAL = words(process.env.INTERCOM_JS || '')

/** The kinds that every scenario runs with. */
const KINDS = ['rust', 'pinned', 'latest']
const HAS_ORIGINAL = ORIGINAL.length > 0

const TOKEN = 'interop-token'
// The original application stretches two keys over 256 MiB each before it opens its bridge.
const START_MS = 120_000
const PORTS = { first: 20_000, last: 32_000 }

// Below the range from which the system gives ports to outgoing connections, so that none of those takes it
// between this look and the peer's bind.
let nextPort = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first))
async function freePort () {
  for (;;) {
    nextPort = nextPort >= PORTS.last ? PORTS.first : nextPort + 1
    const port = nextPort
    const free = await new Promise((resolve) => {
      const server = net.createServer()
      server.once('error', () => resolve(false))
      server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}

const stores = fs.mkdtempSync(path.join(os.tmpdir(), 'interop-'))
process.on('exit', () => fs.rmSync(stores, { recursive: true, force: true }))

function flagsOf ({ store, bootstrap, port, extra = [] }) {
  return [
    '--peer-stores-directory', stores + path.sep, '--peer-store-name', store,
    '--msb-stores-directory', stores + path.sep, '--msb-store-name', store + '-msb',
    '--subnet-channel', 'interop-subnet',
    '--peer-dht-bootstrap', bootstrap, '--msb-dht-bootstrap', bootstrap,
    '--sidechannel-welcome-required', '0',
    ...words(process.env.INTEROP_FLAGS || ''),
    '--sc-bridge', '1', '--sc-bridge-host', '127.0.0.1', '--sc-bridge-port', String(port), '--sc-bridge-token', TOKEN,
    ...extra
  ]
}

function commandOf (kind, flags) {
  if (kind === 'rust') return [...RUST, ...flags]
  if (kind === 'original') return [...ORIGINAL, ...flags]
  return [process.execPath, path.join(ROOT, 'peer', 'main.js'), kind, ...flags]
}

// One process for all reference peers of a kind and a role.
const hosts = new Map()
function hostOf (kind, role) {
  const name = kind + ' ' + role
  if (!hosts.has(name)) {
    const worker = new Worker('host of ' + name, [process.execPath, path.join(ROOT, 'peer', 'host.js'), kind])
    hosts.set(name, worker.json((o) => o.ready).then(() => worker))
  }
  return hosts.get(name)
}

// A new identity costs these kinds a key stretching of 256 MiB: peers that need no particular one take turns with few,
// at random, so that either side may have the greater key, which decides some ties.
const idle = { rust: [], original: [] }
const takeStore = (kind) => idle[kind].splice(Math.floor(Math.random() * idle[kind].length), 1)[0]

let nextPeer = 1

/** A running peer of any kind, with an authenticated client of its bridge. */
class Peer {
  /**
   * `role` names the side in reports, and the shared process of reference peers; with `own`, a reference peer gets a
   * process of its own as every other kind always has. `store` and `port` are those of a peer that was killed before.
   */
  static async start ({ kind, role, bootstrap, store, port = null, own = false, extra }) {
    const peer = new Peer()
    peer.id = nextPeer++
    peer.kind = kind
    peer.name = role + ' (' + kind + ')'
    peer.store = store || (idle[kind] && takeStore(kind)) || kind + '-' + role.replace(/\W/g, '-') + '-' + peer.id
    peer.bridge = null
    port ??= await freePort()
    peer.port = port
    const flags = flagsOf({ store: peer.store, bootstrap, port, extra })
    peer.startedAt = performance.now()
    if (!own && (kind === 'pinned' || kind === 'latest')) {
      peer.host = await hostOf(kind, role)
      peer.log = []
      peer.host.watchers.add(peer.watcher = (line) => {
        if (line === null) return
        const note = line.startsWith('{') ? JSON.parse(line) : { line }
        if (note.note === peer.id || !line.startsWith('{')) peer.log.push((performance.now() - peer.startedAt).toFixed(0).padStart(7) + ' ms  ' + note.line)
      })
    } else peer.process = new Process(peer.name, commandOf(kind, flags))
    try {
      if (peer.host) await peer._ask({ start: peer.id, argv: flags }, 'started')
      peer.bridge = await BridgeClient.connect(port, TOKEN, { alive: () => !peer.process || !peer.process.exit, ms: START_MS })
    } catch (err) {
      err.message += '\n' + peer.report()
      await peer.kill()
      throw err
    }
    peer.bridgeAt = performance.now()
    peer.publicKey = peer.bridge.peer
    return peer
  }

  async _ask (request, expected) {
    const answer = this.host.json((o) => o[expected] === this.id || o.failed === this.id ? o : null)
    this.host.send(request)
    const got = await answer
    if (got.error) throw new Error(this.name + ': ' + got.error)
  }

  /** End it as an operator does; it must unannounce and leave without an error. */
  async stop () {
    if (this.bridge) this.bridge.close()
    if (this.host) {
      await this._ask({ stop: this.id }, 'stopped')
      this.host.watchers.delete(this.watcher)
      return
    }
    const exit = await this.process.stop()
    this._release()
    const fine = exit.code === 0 || (this.kind === 'original' && exit.signal === 'SIGTERM')
    if (!fine) throw new Error(this.name + ' ended with ' + JSON.stringify(exit))
  }

  /** End it as a crash does. With `again`, its store is for the peer that is started in its place. */
  async kill ({ again = false } = {}) {
    if (this.bridge) this.bridge.close()
    if (this.process) {
      await this.process.kill()
      if (!again) this._release()
      return
    }
    await this._ask({ stop: this.id }, 'stopped').catch(() => {})
    this.host.watchers.delete(this.watcher)
  }

  _release () {
    if (idle[this.kind] && !this.released) idle[this.kind].push(this.store)
    this.released = true
  }

  report () {
    const key = this.publicKey ? ' ' + this.publicKey : ''
    if (this.process) return this.process.report() + key
    return ['--- ' + this.name + key + ' (in a shared process)', ...this.log].join('\n')
  }
}

/** A DHT of `1 + nodes` persistent nodes of a kind, in one process. */
async function startDht (kind, { nodes = 4, bootstrap = null } = {}) {
  const flags = ['--host', '127.0.0.1', '--port', '0', '--nodes', String(nodes), ...(bootstrap ? ['--bootstrap', bootstrap] : [])]
  const command = kind === 'rust' ? [...RUST_DHT, ...flags] : [process.execPath, path.join(ROOT, 'dht', 'operator.js'), kind, ...flags]
  const dht = new Process('DHT (' + kind + ')', command)
  try {
    dht.bootstrap = await dht.line((line) => (line.match(/\b127\.0\.0\.1:\d+/) || [])[0])
  } catch (err) {
    err.message += '\n' + dht.report()
    throw err
  }
  return dht
}

/** A plain HyperDHT node, driven by lines of JSON (`dht/node.js` says which). */
async function startNode (kind, bootstrap, role = 'node') {
  const command = kind === 'rust' ? RUST_NODE : [process.execPath, path.join(ROOT, 'dht', 'node.js'), kind]
  const node = new Worker(role + ' (' + kind + ')', command)
  node.kind = kind
  await node.call({ op: 'start', bootstrap }).catch((err) => {
    err.message += '\n' + node.report()
    throw err
  })
  return node
}

/** Run `body`; where it fails, its error carries what all of `sides` printed. */
async function reporting (sides, body) {
  try {
    return await body()
  } catch (err) {
    const reports = [...new Set(sides().filter(Boolean))].map((side) => side.report())
    const at = String(err.stack).split('\n').filter((line) => /^ {4}at .*interop-tests/.test(line))
    const error = new Error([err.message, ...at, ...reports].join('\n'))
    error.stack = error.message
    throw error
  }
}

async function closeHosts () {
  for (const host of hosts.values()) await (await host).kill()
  hosts.clear()
}

module.exports = { KINDS, HAS_ORIGINAL, Peer, startDht, startNode, reporting, closeHosts, freePort, stores, ROOT, TARGET, RUST, TOKEN }
