'use strict'
// A program whose bridge has 200 clients, one of which reads nothing, and that has 64 peers who say as much as a peer may. Peers
// and clients are spread over eight rooms: each client hears eight peers, and what each peer says goes on to seven others. One
// send at a time is measured meanwhile, by all clients in turn, on a channel that one more peer listens on: before the client came that
// reads nothing, and then. The load, and that peer, are Rust whichever program bears them.

const { bootstrap, goals, median, percentile, withWorkers } = require('../lib/lab')
const { hasProgram, startProgram } = require('../lib/program')
const { TOKEN } = require('../../../interop-tests/lib/kinds')

const ROOMS = Array.from({ length: 8 }, (_, n) => 'load-' + n)
const TALK = 'talk'
// A peer may say 64,000 bytes a second; one that says more is blocked, and would be no load.
const RATE = 62_000

const name = (what, p) => '200 clients, 64 peers: send to ' + what + ', ' + p
const [SENT50, SENT99] = [name('`sent`', 'p50'), name('`sent`', 'p99')]
const [THERE50, THERE99] = [name("another peer's client", 'p50'), name("another peer's client", 'p99')]
const READING99 = '199 clients, all of which read, 64 peers: send to `sent`, p99'
const EVENTS = '200 clients, 64 peers: messages to clients'

module.exports = {
  name: 'load',
  metrics: {
    [SENT50]: { unit: 'ms', goal: goals.noSlower },
    [SENT99]: { unit: 'ms', goal: goals.noSlower },
    [READING99]: { unit: 'ms', goal: goals.noSlower },
    [THERE50]: { unit: 'ms', goal: goals.noSlower },
    [THERE99]: { unit: 'ms', goal: goals.noSlower },
    [EVENTS]: { unit: '/s', more: true, goal: goals.noLess }
  },
  rounds: 2,
  mostRounds: 3,
  async run (impl) {
    if (!hasProgram(impl)) return {}
    const dht = await bootstrap()
    return withWorkers({ load: 'rust' }, async (worker) => {
      const peers = []
      try {
        for (const [kind, role, channels] of [[impl, 'load', [...ROOMS, TALK]], ['rust', 'listener', [TALK]]]) {
          const peer = await startProgram(kind, role, dht, ['--sidechannels', channels.join(',')])
          peers.push(peer)
          await peer.bridge.started(60_000)
        }
        const [program, listener] = peers
        await Promise.all(peers.map((peer) => peer.bridge.connected()))
        const measured = await worker.call({
          op: 'load',
          bootstrap: dht,
          key: program.publicKey,
          bridge: '127.0.0.1:' + program.port,
          listener: '127.0.0.1:' + listener.port,
          token: TOKEN,
          clients: 200,
          deaf: true,
          peers: 64,
          rooms: ROOMS,
          talk: TALK,
          bytes: 1000,
          sample_bytes: 200,
          rate: RATE,
          samples: 400,
          ms: 20_000
        }, 300_000)
        if (process.env.BENCH_NOTES) console.error(impl, { samples: measured.sent.length, lost: measured.lost, deaf: measured.deaf, bytes: measured.bytes, max: Math.max(...measured.sent), maxThere: Math.max(...measured.delivered) })
        return {
          [SENT50]: median(measured.sent),
          [SENT99]: percentile(measured.sent, 0.99),
          [READING99]: percentile(measured.reading.sent, 0.99),
          [THERE50]: median(measured.delivered),
          [THERE99]: percentile(measured.delivered, 0.99),
          [EVENTS]: measured.events
        }
      } catch (err) {
        err.message += '\n' + peers.map((peer) => peer.report()).join('\n')
        throw err
      } finally {
        await Promise.all(peers.map((peer) => peer.kill()))
      }
    })
  }
}
