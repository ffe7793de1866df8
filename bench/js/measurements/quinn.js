'use strict'
const { MB, cpuOf, goals, withWorkers } = require('../lib/lab')
const { transfer } = require('../lib/transfer')

const SPEED = 'secret-stream beside QUIC, 256 MB'
const CPU = 'secret-stream beside QUIC, both ends'

/** The same bytes through quinn, with its own defaults but for windows as large as ours. */
const quinn = () => withWorkers({ receiver: 'rust', sender: 'rust' }, async (server, client) => {
  const total = 256 * MB
  const { port, certificate } = await server.call({ op: 'quinn_serve' })
  await client.call({ op: 'quinn_send', port, certificate, total: MB, chunk: 65536 })
  const before = cpuOf(server.pid, client.pid)
  const { ms } = await client.call({ op: 'quinn_send', port, certificate, total, chunk: 65536 }, 120_000)
  return { speed: total / MB / (ms / 1000), cpu: (cpuOf(server.pid, client.pid) - before) / (total / (1024 * MB)) }
})

module.exports = {
  name: 'quinn',
  metrics: {
    [SPEED]: { unit: 'MB/s', more: true, goal: goals.noLess, versus: 'quinn' },
    [CPU]: { unit: 'CPU s/GB', goal: goals.noMore, versus: 'quinn' }
  },
  beside: ['quinn'],
  async run (impl) {
    if (impl !== 'rust' && impl !== 'quinn') return {}
    const { speed, cpu } = impl === 'quinn' ? await quinn() : await transfer(impl, impl)
    return { [SPEED]: speed, [CPU]: cpu }
  }
}
