'use strict'
const { goals } = require('../lib/lab')
const { transfer } = require('../lib/transfer')

module.exports = {
  name: 'stream',
  metrics: {
    'secret-stream, 256 MB': { unit: 'MB/s', more: true, goal: goals.times(6) },
    'secret-stream, both ends': { unit: 'CPU s/GB', goal: goals.oneOf(3) }
  },
  warmup: 1,
  async run (impl) {
    const { speed, cpu } = await transfer(impl, impl)
    return { 'secret-stream, 256 MB': speed, 'secret-stream, both ends': cpu }
  }
}
