'use strict'
// One node of a kind is the only bootstrap that the peers of the other kind know; the persistent nodes that store
// their announcements are of the other kind too and know no other bootstrap either.

const { describe, test, after } = require('node:test')
const { Peer, startDht, reporting, closeHosts } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ENTRY = '0000intercom'
const CASES = [
  { bootstrap: 'rust', nodes: 'pinned', peers: ['pinned', 'pinned'] },
  { bootstrap: 'rust', nodes: 'latest', peers: ['latest', 'latest'] },
  { bootstrap: 'rust', nodes: 'pinned', peers: ['pinned', 'latest'] },
  { bootstrap: 'rust', nodes: 'rust', peers: ['pinned', 'latest'] },
  { bootstrap: 'pinned', nodes: 'rust', peers: ['rust', 'pinned'] },
  { bootstrap: 'latest', nodes: 'rust', peers: ['latest', 'rust'] }
]

describe('bootstrap', { concurrency: 1 }, () => {
  after(closeHosts)
  for (const { bootstrap, nodes, peers } of CASES) {
    const name = 'bootstrap: only a ' + bootstrap + ' node, ' + nodes + ' storage nodes, peers ' + peers.join(' and ')
    if (!wanted(name)) continue
    test(name, async () => {
      let first = null
      const more = []
      const running = []
      await reporting(() => [...running, ...more, first], async () => {
        first = await startDht(bootstrap, { nodes: 0 })
        more.push(await startDht(nodes, { nodes: 3, bootstrap: first.bootstrap }))
        for (const [i, kind] of peers.entries()) {
          const peer = await Peer.start({ kind, role: 'peer ' + i, bootstrap: first.bootstrap })
          running.push(peer)
          await peer.bridge.started()
        }
        const [a, b] = running
        await Promise.all([a.bridge.connected(), b.bridge.connected()])
        for (const [from, to] of [[a, b], [b, a]]) {
          await from.bridge.send(ENTRY, 'from ' + from.name)
          await to.bridge.message((m) => m.message === 'from ' + from.name)
        }
        await Promise.all(running.map((peer) => peer.stop()))
      }).catch(async (err) => {
        await Promise.all(running.map((peer) => peer.kill()))
        throw err
      }).finally(async () => {
        for (const dht of [first, ...more]) if (dht) await dht.kill()
      })
    })
  }
})
