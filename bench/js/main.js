'use strict'
// Rust and JavaScript in turn, on the same machine, in one run. See scripts/bench.
//
// usage: node bench/js/main.js [--rounds N] [--only a,b] [--impl rust,pinned,latest] [--write FILE] [--json FILE]

const fs = require('fs')
const os = require('os')
const path = require('path')
const { randomBytes } = require('crypto')
const { execFileSync } = require('child_process')
const { Process, Worker } = require('../../interop-tests/lib/process')
const { Peer, startDht, freePort, TARGET, ROOT } = require('../../interop-tests/lib/kinds')
const { parse, list } = require('../../interop-tests/peer/flags')

const flags = parse(process.argv.slice(2))
const ROUNDS = Number(flags.rounds || 5)
const IMPLS = list(flags.impl || 'rust,pinned,latest')
const MB = 1 << 20

const workerCommand = (impl, ...args) => impl === 'rust'
  ? [path.join(TARGET, 'release', 'intercom-bench'), ...(args.length ? args : ['worker'])]
  : [process.execPath, path.join(__dirname, 'worker.js'), impl, ...args]

async function worker (impl, role) {
  const w = new Worker(role + ' (' + impl + ')', workerCommand(impl))
  await w.json((o) => o.ready)
  return w
}

const median = (a) => percentile(a, 0.5)
function percentile (a, p) {
  const sorted = [...a].sort((x, y) => x - y)
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))]
}

/** Resident memory of a process, MiB. */
function residentOf (pid) {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1024
}

/** CPU seconds of a process, where the system tells them finely enough (Linux). */
function cpuOf (pid) {
  if (process.platform !== 'linux') return NaN
  const fields = fs.readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ').pop().split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

// One DHT for every implementation: the pinned JavaScript one.
let dht = null

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Each measurement: `run(impl)` gives { metric: number or numbers }, `metrics` names them, their unit, which way is better,
// and the goal as a function of ours and the better of the others.
const atMost = (limit) => ({ text: '≤ ' + limit, met: (ours) => ours <= limit })
const noSlower = { text: 'no slower', met: (ours, theirs) => ours <= theirs }
const times = (n) => ({ text: '≥ ' + n + ' ×', met: (ours, theirs) => ours >= n * theirs })
const oneOf = (n) => ({ text: '≤ 1/' + n, met: (ours, theirs) => ours <= theirs / n })

async function transfer (sender, receiver) {
  const total = 256 * MB
  const [server, client] = [await worker(receiver, 'receiver'), await worker(sender, 'sender')]
  try {
    const { key } = await server.call({ op: 'serve', bootstrap: dht.bootstrap, mode: 'stream' })
    // A short one first: what is measured is the stream, not the start of two programs.
    await client.call({ op: 'stream', bootstrap: dht.bootstrap, key, total: MB, chunk: 65536 })
    const before = cpuOf(server.pid) + cpuOf(client.pid)
    const { ms } = await client.call({ op: 'stream', bootstrap: dht.bootstrap, key, total, chunk: 65536 }, 120_000)
    const cpu = cpuOf(server.pid) + cpuOf(client.pid) - before
    return { 'MB/s': total / MB / (ms / 1000), 'CPU s/GB': cpu / (total / (1024 * MB)) }
  } finally {
    await Promise.all([server.kill(), client.kill()])
  }
}

async function messages (impl, kind, batch) {
  const count = 100_000
  const [server, client] = [await worker(impl, 'receiver'), await worker(impl, 'sender')]
  try {
    const { key } = await server.call({ op: 'serve', bootstrap: dht.bootstrap, mode: 'mux', kind })
    await client.call({ op: 'mux', bootstrap: dht.bootstrap, key, count: 5_000, batch, kind })
    const { ms } = await client.call({ op: 'mux', bootstrap: dht.bootstrap, key, count, batch, kind }, 120_000)
    return count / (ms / 1000)
  } finally {
    await Promise.all([server.kill(), client.kill()])
  }
}

async function pow (impl, bytes, count) {
  const w = await worker(impl, 'pow')
  try {
    return (await w.call({ op: 'pow', bytes, count, difficulty: 12 }, 300_000)).ms
  } finally {
    await w.kill()
  }
}

/** What plays the program on the side of JavaScript: the original where its command is known, else the reference peer. */
const programOf = (impl) => impl !== 'rust' && process.env.INTERCOM_JS ? 'original' : impl
/** The original brings its own packages: it is measured once, beside the pinned ones. */
const hasProgram = (impl) => impl !== 'latest' || !process.env.INTERCOM_JS

const BENCHES = {
  startup: {
    metrics: { 'process start to listening': { unit: 'ms', goal: atMost(20) } },
    async run (impl) {
      const from = performance.now()
      const p = new Process('startup (' + impl + ')', workerCommand(impl, 'startup', dht.bootstrap))
      try {
        await p.line((line) => line.includes('listening'))
        return { 'process start to listening': performance.now() - from }
      } finally {
        await p.kill()
      }
    }
  },

  bridge: {
    metrics: { '`intercom` start to an accepted SC-Bridge connection, without a network': { unit: 'ms', goal: atMost(100) } },
    async run (impl) {
      if (!hasProgram(impl)) return {}
      const nobody = '127.0.0.1:' + await freePort()
      // The store is there from the first start on, as it is on every start but one.
      const peer = await Peer.start({ kind: programOf(impl), role: 'bridge', bootstrap: nobody, store: 'bridge-' + impl, own: true })
      const ms = peer.bridgeAt - peer.startedAt
      await peer.kill()
      return { '`intercom` start to an accepted SC-Bridge connection, without a network': ms }
    },
    warmup: 1
  },

  memory: {
    metrics: {
      'resident memory of the idle program': { unit: 'MiB', goal: atMost(15) },
      'resident memory of an idle swarm node': { unit: 'MiB', goal: atMost(15) }
    },
    async run (impl) {
      const peer = hasProgram(impl) ? await Peer.start({ kind: programOf(impl), role: 'memory', bootstrap: dht.bootstrap, store: 'memory-' + impl, own: true }) : null
      if (peer) await peer.bridge.started(60_000)
      const node = await worker(impl, 'swarm')
      await node.call({ op: 'swarm', bootstrap: dht.bootstrap, topic: randomBytes(32).toString('hex') })
      await pause(3000)
      const result = { 'resident memory of an idle swarm node': residentOf(node.pid) }
      if (peer) result['resident memory of the idle program'] = residentOf(peer.process.pid)
      await Promise.all([peer, node].map((one) => one && one.kill()))
      return result
    },
    rounds: 2,
    warmup: 1
  },

  connect: {
    metrics: {
      'topic join to connection, p50': { unit: 'ms', goal: noSlower },
      'topic join to connection, p90': { unit: 'ms', goal: noSlower }
    },
    async run (impl) {
      const topic = randomBytes(32).toString('hex')
      const [server, client] = [await worker(impl, 'server'), await worker(impl, 'client')]
      try {
        await server.call({ op: 'swarm', bootstrap: dht.bootstrap, topic })
        await client.call({ op: 'join', bootstrap: dht.bootstrap, topic })
        const all = []
        for (let n = 0; n < 15; n++) all.push((await client.call({ op: 'join', bootstrap: dht.bootstrap, topic })).ms)
        return { 'topic join to connection, p50': median(all), 'topic join to connection, p90': percentile(all, 0.9) }
      } finally {
        await Promise.all([server.kill(), client.kill()])
      }
    }
  },

  stream: {
    metrics: {
      'secret-stream, 256 MB': { unit: 'MB/s', more: true, goal: times(3) },
      'secret-stream, both ends': { unit: 'CPU s/GB', goal: oneOf(3) }
    },
    async run (impl) {
      const r = await transfer(impl, impl)
      return { 'secret-stream, 256 MB': r['MB/s'], 'secret-stream, both ends': r['CPU s/GB'] }
    },
    warmup: 1
  },

  mixed: {
    metrics: {
      'secret-stream, 256 MB, to pinned JavaScript': { unit: 'MB/s', more: true },
      'secret-stream, 256 MB, from pinned JavaScript': { unit: 'MB/s', more: true }
    },
    async run (impl) {
      return {
        'secret-stream, 256 MB, to pinned JavaScript': (await transfer(impl, 'pinned'))['MB/s'],
        'secret-stream, 256 MB, from pinned JavaScript': (await transfer('pinned', impl))['MB/s']
      }
    },
    rounds: 3
  },

  protomux: {
    metrics: {
      '200-byte Protomux messages': { unit: '/s', more: true, goal: times(3) },
      '200-byte Protomux messages, 32 a cork': { unit: '/s', more: true, goal: times(3) },
      '200-byte Protomux messages of JSON': { unit: '/s', more: true, goal: times(3) },
      '200-byte Protomux messages of JSON, 32 a cork': { unit: '/s', more: true, goal: times(3) }
    },
    async run (impl) {
      return {
        '200-byte Protomux messages': await messages(impl, 'raw', 1),
        '200-byte Protomux messages, 32 a cork': await messages(impl, 'raw', 32),
        '200-byte Protomux messages of JSON': await messages(impl, 'json', 1),
        '200-byte Protomux messages of JSON, 32 a cork': await messages(impl, 'json', 32)
      }
    }
  },

  pow: {
    metrics: {
      'message of 200 bytes with 12 bits of work, median': { unit: 'ms', goal: atMost(1) },
      'message of 200 kB with 12 bits of work, median': { unit: 'ms', goal: atMost(5) }
    },
    // Building a message is the application's own code, the same whichever packages are below it.
    async run (impl) {
      if (impl === 'latest') return {}
      return {
        'message of 200 bytes with 12 bits of work, median': median(await pow(impl, 200, impl === 'rust' ? 400 : 60)),
        'message of 200 kB with 12 bits of work, median': median(await pow(impl, 200_000, impl === 'rust' ? 100 : 1))
      }
    },
    rounds: 3
  }
}

const show = (n) => n >= 1000 ? Math.round(n).toLocaleString('en') : n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2)
const cell = (values) => !values || values.length === 0 ? '–' : show(median(values)) + (values.length > 1 ? ' (' + show(Math.min(...values)) + '–' + show(Math.max(...values)) + ')' : '')

/** The rows of one bench: a metric, its values per implementation, the ratio to the better JavaScript, the goal. */
function rowsOf (bench, data) {
  return Object.entries(bench.metrics).map(([name, { unit, more, goal }]) => {
    const values = data[name] || {}
    const js = IMPLS.filter((impl) => impl !== 'rust' && values[impl]).map((impl) => median(values[impl]))
    const best = js.length ? (more ? Math.max(...js) : Math.min(...js)) : NaN
    const ours = values.rust ? median(values.rust) : NaN
    const ratio = more ? ours / best : best / ours
    return [
      name + ', ' + unit,
      ...IMPLS.map((impl) => cell(values[impl])),
      Number.isFinite(ratio) ? show(ratio) + ' ×' : '–',
      goal ? goal.text : '',
      goal && Number.isFinite(ours) ? (goal.met(ours, best) ? 'yes' : '**no**') : ''
    ]
  })
}

function table (rows) {
  const head = ['measurement', ...IMPLS.map((impl) => impl === 'rust' ? 'Rust' : 'JavaScript ' + impl), 'better by', 'goal', 'met']
  const line = (cells) => '| ' + cells.join(' | ') + ' |'
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function machine () {
  const cpus = os.cpus()
  return cpus.length + ' × ' + cpus[0].model.trim() + ', ' + Math.round(os.totalmem() / 2 ** 30) + ' GiB, ' + os.type() + ' ' + os.release() + ', Node.js ' + process.version
}

function versions () {
  return IMPLS.filter((impl) => impl !== 'rust').map((impl) => {
    const of = (id) => require(path.join(ROOT, impl, 'node_modules', id, 'package.json')).version
    return impl + ': hyperswarm ' + of('hyperswarm') + ', hyperdht ' + of('hyperdht') + ', udx-native ' + of('udx-native')
  }).join('; ')
}

function document (rows) {
  return [
    '# Benchmarks',
    '',
    'Made by `scripts/bench --write docs/benchmarks.md`. Rust and JavaScript run in turn, in one run, on one machine; a number is the',
    'median of the rounds, in brackets the least and the most. "Better by" compares with the better JavaScript. Figures of different',
    'runs are not comparable.',
    '',
    'Machine: ' + machine() + '.',
    'JavaScript: ' + versions() + '.',
    'The program on the side of JavaScript is ' + (process.env.INTERCOM_JS ? 'the original application' : 'the reference peer of `interop-tests`') + '.',
    'Rounds: ' + ROUNDS + '.',
    '',
    table(rows),
    ''
  ].join('\n')
}

async function main () {
  const only = list(flags.only || Object.keys(BENCHES).join(','))
  const unknown = only.filter((name) => !BENCHES[name])
  if (unknown.length) throw new Error('no such benchmark: ' + unknown.join(', ') + '; there are ' + Object.keys(BENCHES).join(', '))
  dht = await startDht('pinned', { nodes: 9 })
  const rows = []
  const raw = {}
  for (const name of only) {
    const bench = BENCHES[name]
    const data = {}
    for (let n = 0; n < (bench.warmup || 0); n++) for (const impl of IMPLS) await bench.run(impl)
    for (let round = 0; round < (flags.rounds ? ROUNDS : bench.rounds || ROUNDS); round++) {
      for (const impl of round & 1 ? [...IMPLS].reverse() : IMPLS) {
        for (const [metric, value] of Object.entries(await bench.run(impl))) ((data[metric] ||= {})[impl] ||= []).push(value)
        process.stderr.write('.')
      }
    }
    process.stderr.write(' ' + name + '\n')
    raw[name] = data
    rows.push(...rowsOf(bench, data))
  }
  console.log(machine() + '\n' + versions() + '\n\n' + table(rows))
  if (flags.write) fs.writeFileSync(flags.write, document(rows))
  if (flags.json) fs.writeFileSync(flags.json, JSON.stringify(raw, null, 1))
  await dht.kill()
  process.exit(0)
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
