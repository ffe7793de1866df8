'use strict'
// Every kind as server, as client and as operator of the DHT: the two meet on 0000intercom and a message goes each way.
//
// The peer that is there first has announced itself before the second looks it up and connects to it: the first is the
// server of the connection, the second its client.

const { describe, test, after } = require('node:test')
const assert = require('node:assert/strict')
const { KINDS, HAS_ORIGINAL, Peer, startDht, reporting, closeHosts } = require('../lib/kinds')
const { repeat, repeatSlow, wanted } = require('../lib/settings')

const ENTRY = '0000intercom'

// Objects, numbers and characters that JSON writers treat differently: what arrives must be what was sent.
const message = (from, n) => ({ from, n, text: 'hall\u00f6 \u{1f310} "\\\u2028', numbers: [0, -1.5, 1e21, 5e-324, 2 ** 53], '2': 'two', '1': 'one', nothing: null })

async function exchange (from, to, n) {
  const sent = message(from.name, n)
  await from.bridge.send(ENTRY, sent)
  const got = await to.bridge.message((m) => m.message && m.message.from === from.name && m.message.n === n).catch((err) => {
    err.message = from.name + ' to ' + to.name + ': ' + err.message
    throw err
  })
  assert.deepEqual(Object.entries(got.message), Object.entries(sent))
  assert.equal(got.channel, ENTRY)
  assert.equal(got.from, from.publicKey)
  assert.equal(got.origin, from.publicKey)
  assert.equal(got.relayedBy, null)
  assert.equal(got.ttl, 3)
  assert.match(got.sig, /^[0-9a-f]{128}$/)
}

async function meet (dht, serverKind, clientKind, n) {
  let server = null
  let client = null
  await reporting(() => [server, client, dht], async () => {
    server = await Peer.start({ kind: serverKind, role: 'server', bootstrap: dht.bootstrap })
    await server.bridge.started()
    client = await Peer.start({ kind: clientKind, role: 'client', bootstrap: dht.bootstrap })
    await Promise.all([server.bridge.connected(), client.bridge.connected()])
    await Promise.all([exchange(server, client, n), exchange(client, server, n)])
    const [first, second] = n & 1 ? [server, client] : [client, server]
    await first.stop()
    await second.stop()
  }).catch(async (err) => {
    await Promise.all([server, client].map((peer) => peer && peer.kill()))
    err.message = 'repeat ' + n + ': ' + err.message
    throw err
  })
}

const isJs = (kind) => kind === 'pinned' || kind === 'latest'

function timesOf (kinds) {
  if (kinds.filter((kind) => kind === 'original').length > 1) return 1
  if (kinds.includes('original') || kinds.every(isJs)) return Math.min(repeat, repeatSlow)
  return repeat
}

function pairs () {
  const all = []
  for (const server of KINDS) for (const client of KINDS) all.push([server, client])
  if (HAS_ORIGINAL) all.push(['rust', 'original'], ['original', 'rust'], ['original', 'original'])
  return all
}

describe('matrix', { concurrency: 3 }, () => {
  after(closeHosts)
  for (const operator of KINDS) {
    describe('DHT operator ' + operator, { concurrency: 1 }, () => {
      const cells = pairs().map(([server, client]) => ({ server, client, name: 'matrix: server=' + server + ' client=' + client + ' dht=' + operator })).filter((cell) => wanted(cell.name))
      let dht = null
      after(() => dht && dht.kill())
      for (const { server, client, name } of cells) {
        const times = timesOf([server, client, operator])
        test(name + ' x' + times, async () => {
          dht ||= await startDht(operator)
          try {
            for (let n = 0; n < times; n++) await meet(dht, server, client, n)
          } catch (err) {
            // What the failed peers left announced must not be found by the next cell.
            await dht.kill()
            dht = null
            throw err
          }
        })
      }
    })
  }
})
