'use strict'
const { MB, bootstrap, cpuOf, withWorkers } = require('./lab')

/** `total` bytes through one secret stream between two processes: { speed in MB/s, cpu of both in s/GB }. */
async function transfer (sender, receiver, total = 256 * MB, chunk = 65536) {
  const dht = await bootstrap()
  return withWorkers({ receiver, sender }, async (server, client) => {
    const { key } = await server.call({ op: 'serve', bootstrap: dht, mode: 'stream' })
    // A short one first: what is measured is the stream, not the start of two programs.
    await client.call({ op: 'stream', bootstrap: dht, key, total: MB, chunk })
    const before = cpuOf(server.pid, client.pid)
    const { ms } = await client.call({ op: 'stream', bootstrap: dht, key, total, chunk }, 120_000)
    const cpu = cpuOf(server.pid, client.pid) - before
    return { speed: total / MB / (ms / 1000), cpu: cpu / (total / (1024 * MB)) }
  })
}

module.exports = { transfer }
