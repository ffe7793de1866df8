'use strict'
const { Process, workerCommand, bootstrap, goals } = require('../lib/lab')

module.exports = {
  name: 'startup',
  metrics: { 'process start to listening': { unit: 'ms', goal: goals.atMost(20) } },
  async run (impl) {
    const dht = await bootstrap()
    const from = performance.now()
    const p = new Process('startup (' + impl + ')', workerCommand(impl, 'startup', dht))
    try {
      await p.line((line) => line.includes('listening'))
      return { 'process start to listening': performance.now() - from }
    } finally {
      await p.kill()
    }
  }
}
