'use strict'
const { goals } = require('../lib/lab')
const { hasProgram, startProgram } = require('../lib/program')
const { freePort } = require('../../../interop-tests/lib/kinds')

const NAME = '`intercom` start to an accepted SC-Bridge connection, without a network'

module.exports = {
  name: 'bridge',
  metrics: { [NAME]: { unit: 'ms', goal: goals.atMost(100) } },
  // The store is there from the first start on, as it is on every start but one.
  warmup: 1,
  async run (impl) {
    if (!hasProgram(impl)) return {}
    const peer = await startProgram(impl, 'bridge', '127.0.0.1:' + await freePort())
    const ms = peer.bridgeAt - peer.startedAt
    await peer.kill()
    return { [NAME]: ms }
  }
}
