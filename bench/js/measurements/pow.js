'use strict'
const { goals, median, withWorkers } = require('../lib/lab')

const [SHORT, LONG] = ['message of 200 bytes with 12 bits of work, median', 'message of 200 kB with 12 bits of work, median']

const build = (impl, bytes, count) => withWorkers({ pow: impl }, async (w) =>
  median((await w.call({ op: 'pow', bytes, count, difficulty: 12 }, 300_000)).ms))

module.exports = {
  name: 'pow',
  metrics: { [SHORT]: { unit: 'ms', goal: goals.atMost(1) }, [LONG]: { unit: 'ms', goal: goals.atMost(5) } },
  rounds: 3,
  // Building a message is the application's own code, the same whichever packages are below it.
  async run (impl) {
    if (impl === 'latest') return {}
    return {
      [SHORT]: await build(impl, 200, impl === 'rust' ? 400 : 60),
      [LONG]: await build(impl, 200_000, impl === 'rust' ? 100 : 1)
    }
  }
}
