'use strict'
const { bootstrap, cpuDuring, goals, pause, residentOf, withWorkers } = require('../lib/lab')

const EACH = 'memory for an idle connection, from 200 to 1,000'
const CPU = 'CPU of a node without connections'
const CPU_HELD = 'CPU of a node with 1,000 idle connections'
const MANY = '10,000 connections to one node, memory for each'
const CPU_MANY = 'CPU of a node with 10,000 idle connections'

/** CPU of a process that is left alone, in per cent of a core. */
const idleCpu = async (pid, seconds) => await cpuDuring(pid, seconds) / seconds * 100

module.exports = {
  name: 'idle',
  metrics: {
    [EACH]: { unit: 'kB', goal: goals.atMost(12) },
    [CPU]: { unit: '%', goal: goals.atMost(0.2) },
    [CPU_HELD]: { unit: '%' },
    [MANY]: { unit: 'kB', goal: goals.atMost(12) },
    [CPU_MANY]: { unit: '%' }
  },
  rounds: 2,
  mostRounds: 2,
  async run (impl) {
    const dht = await bootstrap()
    return withWorkers({ server: impl, client: impl }, async (server, client) => {
      const { key } = await server.call({ op: 'serve', bootstrap: dht, mode: 'hold' })
      const result = { [CPU]: await idleCpu(server.pid, 5) }
      const hold = async (total) => {
        await client.call({ op: 'hold', bootstrap: dht, key, total }, 120_000)
        // Connections that fall idle give memory back.
        await pause(2000)
        return residentOf(server.pid) * 1024
      }
      const few = await hold(200)
      result[EACH] = (await hold(1000) - few) / 800
      result[CPU_HELD] = await idleCpu(server.pid, 5)
      if (impl === 'rust') {
        result[MANY] = (await hold(10_000) - few) / 9800
        result[CPU_MANY] = await idleCpu(server.pid, 5)
      }
      return result
    })
  }
}
