'use strict'
const { randomBytes } = require('crypto')
const { bootstrap, goals, pause, residentOf, withWorkers } = require('../lib/lab')
const { hasProgram, startProgram } = require('../lib/program')

const PROGRAM = 'resident memory of the idle program'
const NODE = 'resident memory of an idle swarm node'

module.exports = {
  name: 'memory',
  metrics: {
    [PROGRAM]: { unit: 'MiB', goal: goals.atMost(15) },
    [NODE]: { unit: 'MiB', goal: goals.atMost(15) }
  },
  rounds: 2,
  warmup: 1,
  async run (impl) {
    const dht = await bootstrap()
    return withWorkers({ swarm: impl }, async (node) => {
      const peer = hasProgram(impl) ? await startProgram(impl, 'memory', dht) : null
      try {
        if (peer) await peer.bridge.started(60_000)
        await node.call({ op: 'swarm', bootstrap: dht, topic: randomBytes(32).toString('hex') })
        await pause(3000)
        return { [NODE]: residentOf(node.pid), ...(peer && { [PROGRAM]: residentOf(peer.process.pid) }) }
      } finally {
        if (peer) await peer.kill()
      }
    })
  }
}
