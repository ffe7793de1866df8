'use strict'
const { bootstrap, goals, withWorkers } = require('../lib/lab')

const ROWS = {
  '200-byte Protomux messages': ['raw', 1],
  '200-byte Protomux messages, 32 a cork': ['raw', 32],
  '200-byte Protomux messages of JSON': ['json', 1],
  '200-byte Protomux messages of JSON, 32 a cork': ['json', 32]
}
const GOALS = { '200-byte Protomux messages, 32 a cork': goals.atLeast(1_000_000) }

async function messages (impl, kind, batch) {
  const dht = await bootstrap()
  const count = 100_000
  return withWorkers({ receiver: impl, sender: impl }, async (server, client) => {
    const { key } = await server.call({ op: 'serve', bootstrap: dht, mode: 'mux', kind })
    await client.call({ op: 'mux', bootstrap: dht, key, count: 5_000, batch, kind })
    const { ms } = await client.call({ op: 'mux', bootstrap: dht, key, count, batch, kind }, 120_000)
    return count / (ms / 1000)
  })
}

module.exports = {
  name: 'protomux',
  metrics: Object.fromEntries(Object.keys(ROWS).map((name) => [name, { unit: '/s', more: true, goal: GOALS[name] || goals.times(3) }])),
  async run (impl) {
    const result = {}
    for (const [name, [kind, batch]] of Object.entries(ROWS)) result[name] = await messages(impl, kind, batch)
    return result
  }
}
