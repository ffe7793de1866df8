'use strict'
// Ten peers, half of each kind, each in its own process: every two of them meet, and what one says every other hears once.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const { Peer, startDht, reporting } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ENTRY = '0000intercom'
const MESHES = {
  'rust and pinned': Array.from({ length: 10 }, (_, i) => i % 2 ? 'pinned' : 'rust'),
  'rust, pinned and latest': Array.from({ length: 10 }, (_, i) => i % 2 ? (i % 4 === 1 ? 'pinned' : 'latest') : 'rust')
}

describe('mesh', { concurrency: 1 }, () => {
  for (const [what, kinds] of Object.entries(MESHES)) {
    const name = 'mesh: ten peers of ' + what
    if (!wanted(name)) continue
    test(name, async () => {
      const dht = await startDht('pinned')
      const peers = []
      await reporting(() => [...peers, dht], async () => {
        // Two peers that look each other up before either has announced itself would not meet before their next
        // lookup, ten minutes later; so each announces itself before the next one comes.
        for (const [i, kind] of kinds.entries()) {
          const peer = await Peer.start({ kind, role: 'peer ' + i, bootstrap: dht.bootstrap, own: true })
          peers.push(peer)
          await peer.bridge.started()
        }
        await Promise.all(peers.map((peer) => peer.bridge.connected(peers.length - 1)))
        await Promise.all(peers.map((peer, i) => peer.bridge.send(ENTRY, { mesh: i })))
        await Promise.all(peers.map(async (peer, i) => {
          for (const [j, other] of peers.entries()) {
            if (i === j) continue
            const got = await peer.bridge.message((m) => m.message.mesh === j)
            assert.equal(got.from, other.publicKey)
          }
        }))
        // The copies that peers relay are behind us once a later message of everyone is here; none may show twice.
        await Promise.all(peers.map((peer, i) => peer.bridge.send(ENTRY, { last: i })))
        await Promise.all(peers.flatMap((peer, i) => peers.map((_, j) => i === j ? null : peer.bridge.message((m) => m.message.last === j))))
        for (const [i, peer] of peers.entries()) {
          const heard = peer.bridge.messages.filter((m) => m.message.mesh !== undefined).map((m) => m.message.mesh).sort((a, b) => a - b)
          assert.deepEqual(heard, peers.map((_, j) => j).filter((j) => j !== i), 'what peer ' + i + ' heard')
          const { connectionCount } = await peer.bridge.connected(peers.length - 1)
          assert.equal(connectionCount, peers.length - 1, 'connections of peer ' + i)
        }
        await Promise.all(peers.map((peer) => peer.stop()))
      }).finally(async () => {
        await Promise.all(peers.map((peer) => peer.kill()))
        await dht.kill()
      })
    })
  }
})
