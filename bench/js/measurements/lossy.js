'use strict'
const { MB, goals, withWorkers } = require('../lib/lab')

// Round trip in ms, loss, Mbit/s, bytes: through a proxy whose losses a seed decides.
const LINKS = {
  'goodput over 100 ms, 1 % loss, 100 Mbit/s': [100, 0.01, 100, 24 * MB],
  'goodput over 100 ms, 100 Mbit/s': [100, 0, 100, 24 * MB],
  'goodput over 20 ms, 2 % loss, 100 Mbit/s': [20, 0.02, 100, 24 * MB]
}

async function goodput (impl, [rtt, loss, rate, total], seed) {
  return withWorkers({ link: 'rust', receiver: impl, sender: impl }, async (link, receiver, sender) => {
    const [from, to] = [await sender.call({ op: 'udx_create', stream: 1 }), await receiver.call({ op: 'udx_create', stream: 2 })]
    const { near, far } = await link.call({ op: 'link', near: from.port, far: to.port, delay: rtt / 2, loss, rate, seed })
    await receiver.call({ op: 'udx_take', port: far, remote: 1, total })
    const start = performance.now()
    await sender.call({ op: 'udx_send', port: near, remote: 2, total, chunk: 65536 }, 120_000)
    await receiver.call({ op: 'udx_taken' }, 120_000)
    return total * 8 / 1e6 / ((performance.now() - start) / 1000)
  })
}

let seed = 0

module.exports = {
  name: 'lossy',
  metrics: Object.fromEntries(Object.keys(LINKS).map((name) => [name, { unit: 'Mbit/s', more: true, goal: goals.noLess }])),
  rounds: 3,
  async run (impl) {
    const result = {}
    seed++
    for (const [name, link] of Object.entries(LINKS)) result[name] = await goodput(impl, link, seed)
    return result
  }
}
