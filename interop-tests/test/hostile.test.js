'use strict'
// A peer that sends garbage, huge counts, endless opens, forged acknowledgements, or never reads. The Rust peer under attack
// lives on, its memory stays flat, and two others who talk through the same channel notice nothing.

const { describe, test, before, after } = require('node:test')
const assert = require('node:assert/strict')
const { execFileSync } = require('child_process')
const fs = require('fs')
const path = require('path')
const { Peer, startDht, reporting, closeHosts, stores, ROOT } = require('../lib/kinds')
const { Worker } = require('../lib/process')
const { wanted } = require('../lib/settings')

const ENTRY = '0000intercom'
const GROWTH_MIB = 24
// A peer may say 64 kB a second: what the test says while an attack lasts stays far below.
const EXCHANGE_EVERY_MS = 50
// Attacks after which the connection must be gone. After the others it may stay: nothing in them is against the protocol
// beyond repair, or they are not from the peer that is on the connection.
const FATAL = ['garbage below the encryption', 'garbage frames', 'huge counts']
const ATTACKS = [
  'garbage below the encryption', 'a frame of 16 MB that never comes', 'garbage frames', 'huge counts', 'unknown channels', 'endless opens',
  'opens and closes of one channel', 'messages held for a channel that never opens', 'messages that are no messages', 'a flood of messages',
  'forged acknowledgements', 'packets far ahead', 'packets of every kind', 'garbage datagrams'
]
const DEAF = 'a peer that never reads'

const resident = (pid) => Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1024

describe('hostile', { concurrency: 1, skip: process.platform === 'win32' }, () => {
  let dht, victim, friend, attacker
  let n = 0

  const exchange = async () => {
    const text = 'still here ' + ++n
    await victim.bridge.send(ENTRY, text)
    await friend.bridge.message((m) => m.message === text)
    await friend.bridge.send(ENTRY, text + ' too')
    await victim.bridge.message((m) => m.message === text + ' too')
  }

  before(async () => {
    if (![...ATTACKS, DEAF].some((name) => wanted('hostile: ' + name))) return
    dht = await startDht('pinned')
    victim = await Peer.start({ kind: 'rust', role: 'victim', bootstrap: dht.bootstrap, own: true })
    await victim.bridge.started()
    // A new peer stretches a key for its settlement wallet soon after its start, which takes 256 MiB for a second.
    const keypair = path.join(stores, victim.store + '-msb', 'db', 'keypair.json')
    while (!fs.existsSync(keypair)) await new Promise((resolve) => setTimeout(resolve, 50))
    friend = await Peer.start({ kind: 'pinned', role: 'friend', bootstrap: dht.bootstrap })
    await Promise.all([victim.bridge.connected(), friend.bridge.connected()])
    attacker = new Worker('attacker', [process.execPath, path.join(ROOT, 'peer', 'hostile.js'), 'pinned'])
    const { attacks } = await attacker.call({ op: 'start', bootstrap: dht.bootstrap })
    assert.deepEqual(attacks, ATTACKS)
    await exchange()
  })
  after(async () => {
    for (const side of [victim, friend, attacker, dht]) if (side) await side.kill()
    await closeHosts()
  })

  const attacked = (name, body) => test('hostile: ' + name, { skip: !wanted('hostile: ' + name) }, () => reporting(() => [victim, friend, attacker], async () => {
    const memory = resident(victim.process.pid)
    await body()
    assert.equal(victim.process.exit, null, 'the victim lives')
    await exchange()
    const grown = resident(victim.process.pid) - memory
    assert.ok(grown < GROWTH_MIB, 'memory grew by ' + grown.toFixed(1) + ' MiB')
  }))

  for (const name of ATTACKS) {
    attacked(name, async () => {
      let done = false
      const attack = attacker.call({ op: 'attack', victim: victim.publicKey, name }, 60_000).finally(() => { done = true })
      // The others go on while it lasts.
      attack.catch(() => {})
      while (!done) {
        await exchange()
        await new Promise((resolve) => setTimeout(resolve, EXCHANGE_EVERY_MS))
      }
      const { ended } = await attack
      if (FATAL.includes(name)) assert.ok(ended, 'the connection of the attacker is gone')
    })
  }

  attacked(DEAF, async () => {
    await victim.bridge.call({ type: 'join', channel: 'deaf' })
    await attacker.call({ op: 'deaf', victim: victim.publicKey })
    await victim.bridge.connected(2)
    // Three times what may grow, for the one who does not read.
    for (let i = 0; i < 3 * GROWTH_MIB; i++) await victim.bridge.send('deaf', 'x'.repeat(900_000) + i)
    await exchange()
    await attacker.call({ op: 'release' })
  })
})
