'use strict'
const { randomBytes } = require('crypto')
const { bootstrap, goals, median, percentile, withWorkers } = require('../lib/lab')

const [P50, P90] = ['topic join to connection, p50', 'topic join to connection, p90']

module.exports = {
  name: 'connect',
  metrics: { [P50]: { unit: 'ms', goal: goals.noSlower }, [P90]: { unit: 'ms', goal: goals.noSlower } },
  async run (impl) {
    const dht = await bootstrap()
    const topic = randomBytes(32).toString('hex')
    return withWorkers({ server: impl, client: impl }, async (server, client) => {
      await server.call({ op: 'swarm', bootstrap: dht, topic })
      await client.call({ op: 'join', bootstrap: dht, topic })
      const all = []
      for (let n = 0; n < 15; n++) all.push((await client.call({ op: 'join', bootstrap: dht, topic })).ms)
      return { [P50]: median(all), [P90]: percentile(all, 0.9) }
    })
  }
}
