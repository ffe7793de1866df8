'use strict'
const { randomBytes } = require('crypto')

/** `count` times `f`, `concurrency` of them at once: how long it took, in ms. */
async function timed (now, count, concurrency, f) {
  const from = now()
  let left = count
  await Promise.all(Array.from({ length: concurrency }, async () => { while (left-- > 0) await f() }))
  return { ms: now() - from }
}

module.exports = ({ stack: { DHT, testnet }, node, now, bytes, opened }) => {
  const held = []

  return {
    /** A DHT of `nodes` nodes in this process. */
    async testnet ({ nodes }) {
      const { bootstrap } = await testnet(nodes)
      return { bootstrap: bootstrap.map((one) => one.host + ':' + one.port).join(',') }
    },

    /** Connects to `key` and lets go of the connection when it is open, `count` times. */
    async handshakes ({ bootstrap, key, count, concurrency }) {
      const dht = await node(bootstrap)
      return timed(now, count, concurrency, async () => {
        const connection = dht.connect(bytes(key), { keyPair: DHT.keyPair() })
        const closed = new Promise((resolve) => connection.once('close', resolve))
        await opened(connection)
        connection.on('error', () => {})
        connection.destroy()
        await closed
      })
    },

    /** Looks random topics up, to the end of each query. */
    async lookups ({ bootstrap, count, concurrency }) {
      const dht = await node(bootstrap)
      return timed(now, count, concurrency, () => dht.lookup(randomBytes(32)).finished())
    },

    /** Announces itself under random topics. */
    async announces ({ bootstrap, count, concurrency }) {
      const dht = await node(bootstrap)
      const keys = DHT.keyPair()
      return timed(now, count, concurrency, () => dht.announce(randomBytes(32), keys, []).finished())
    },

    /** Holds `total` connections to `key`, which say nothing. */
    async hold ({ bootstrap, key, total }) {
      const dht = await node(bootstrap)
      const missing = total - held.length
      await timed(now, missing, 16, async () => {
        const connection = dht.connect(bytes(key), { keyPair: DHT.keyPair() })
        await opened(connection)
        connection.on('error', () => {})
        held.push(connection)
      })
    }
  }
}
