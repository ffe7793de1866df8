'use strict'
const { bootstrap, goals, withWorkers } = require('../lib/lab')

const CONNECT = 'connect handshakes, 8 at once'
const own = (what) => what + ', 4 at once, DHT of 20 nodes of its own kind'
const theirs = (what) => what + ', 4 at once, JavaScript DHT'
const [LOOKUPS, ANNOUNCES] = ['lookups', 'announces']

const rate = async (w, op, count, concurrency, more) => {
  await w.call({ op, count: Math.ceil(count / 10), concurrency, ...more }, 60_000)
  return count / ((await w.call({ op, count, concurrency, ...more }, 120_000)).ms / 1000)
}

module.exports = {
  name: 'dht',
  metrics: {
    [CONNECT]: { unit: '/s', more: true, goal: goals.times(5) },
    [own(LOOKUPS)]: { unit: '/s', more: true, goal: goals.times(5) },
    [own(ANNOUNCES)]: { unit: '/s', more: true, goal: goals.times(5) },
    [theirs(LOOKUPS)]: { unit: '/s', more: true, goal: goals.noLess },
    [theirs(ANNOUNCES)]: { unit: '/s', more: true, goal: goals.noLess }
  },
  rounds: 3,
  async run (impl) {
    const result = {}
    const scale = impl === 'rust' ? 4 : 1
    await withWorkers({ server: impl, client: impl }, async (server, client) => {
      const dht = await bootstrap()
      const { key } = await server.call({ op: 'serve', bootstrap: dht, mode: 'hold' })
      result[CONNECT] = await rate(client, 'handshakes', 300 * scale, 8, { bootstrap: dht, key })
    })
    await withWorkers({ testnet: impl, client: impl }, async (testnet, client) => {
      const { bootstrap: dht } = await testnet.call({ op: 'testnet', nodes: 20 }, 60_000)
      result[own(LOOKUPS)] = await rate(client, 'lookups', 400 * scale, 4, { bootstrap: dht })
      result[own(ANNOUNCES)] = await rate(client, 'announces', 200 * scale, 4, { bootstrap: dht })
    })
    await withWorkers({ testnet: 'pinned', client: impl }, async (testnet, client) => {
      const { bootstrap: dht } = await testnet.call({ op: 'testnet', nodes: 20 }, 60_000)
      result[theirs(LOOKUPS)] = await rate(client, 'lookups', 400, 4, { bootstrap: dht })
      result[theirs(ANNOUNCES)] = await rate(client, 'announces', 200, 4, { bootstrap: dht })
    })
    return result
  }
}
