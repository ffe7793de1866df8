'use strict'
// The matrix: who connects to whom through which NATs, how often it works, and how long it takes. Run by scripts/natlab.

const { existsSync } = require('node:fs')
const { randomBytes } = require('node:crypto')
const { join } = require('node:path')
const { runDoctor } = require('./doctor')
const { DHT_NODES, line, rewire, start, stop, up } = require('./lab')

const BOOTSTRAP = '45.10.0.1:49737'
/** How long a peer has to start, and a client to connect. */
const START_TIMEOUT = 60_000
const CONNECT_TIMEOUT = 90_000
/** Medians closer than this are the same: the clocks and two busy cores are not better. */
const NOISE_MS = 10

/** Server and client by the NAT they are behind. `random`: luck decides, and seconds pass. */
const CELLS = [
  { name: 'open/cone', server: 'open', client: 'cone' },
  { name: 'cone/open', server: 'cone', client: 'open' },
  { name: 'cone/cone', server: 'cone', client: 'cone' },
  { name: 'full/cone', server: 'full', client: 'cone' },
  { name: 'cone/full', server: 'cone', client: 'full' },
  { name: 'lan', server: 'lan', client: 'cone' },
  { name: 'sym/open', server: 'sym', client: 'open' },
  { name: 'open/sym', server: 'open', client: 'sym' },
  { name: 'relayed', server: 'sym', client: 'sym', relay: 'latest' },
  { name: 'relayed-by-rust', server: 'sym', client: 'sym', relay: 'rust' },
  // Peers of a swarm: each tries for a hole before it asks for a relay, unless it knows its NAT. Timers decide how long it takes.
  { name: 'swarm-relayed', server: 'sym', client: 'sym', relay: 'latest', swarm: true },
  { name: 'swarm-relayed-by-rust', server: 'sym', client: 'sym', relay: 'rust', swarm: true },
  { name: 'sym/cone', server: 'sym', client: 'cone', random: true },
  { name: 'cone/sym', server: 'cone', client: 'sym', random: true },
  { name: 'sym/sym', server: 'sym', client: 'sym', fails: true },
  // One machine that asks what network it has.
  { name: 'doctor', doctor: true }
]

const PAIRS = [
  ['rust', 'rust'],
  ['rust', 'pinned'],
  ['rust', 'latest'],
  ['pinned', 'rust'],
  ['latest', 'rust'],
  ['pinned', 'pinned'],
  ['latest', 'latest']
]

const root = join(__dirname, '..', '..')
const rustPeer = process.env.NATLAB_RUST || join(root, 'target', 'release', 'examples', 'natlab-peer')
const rustSwarm = process.env.NATLAB_RUST_SWARM || join(root, 'target', 'release', 'examples', 'natlab-swarm')
const intercom = process.env.INTERCOM_RUST || join(root, 'target', 'release', 'intercom')
const modules = (kind) => join(__dirname, '..', kind, 'node_modules')

function command(kind, mode, ...args) {
  if (kind === 'rust' && mode.startsWith('swarm')) return [rustSwarm, [mode, ...args]]
  if (kind === 'rust') return mode === 'relay' ? [intercom, ['relay', '--bootstrap', BOOTSTRAP]] : [rustPeer, [mode, ...args]]
  return [process.execPath, [join(__dirname, 'peer.js'), modules(kind), mode, ...args]]
}

function options(argv) {
  const options = { repeat: 20, repeatRandom: 5, only: [], implementations: ['rust', 'pinned', 'latest'], times: true }
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--no-times') {
      options.times = false
      continue
    }
    const [flag, value = argv[++i]] = argv[i].split(/=(.*)/s)
    if (flag === '--repeat') options.repeat = Number(value)
    else if (flag === '--repeat-random') options.repeatRandom = Number(value)
    else if (flag === '--only') options.only = value.split(',')
    else if (flag === '--impl') options.implementations = value.split(',')
    else throw new Error(`unknown argument '${flag}' (see --help)`)
  }
  const unknown = options.only.filter((name) => !CELLS.some((cell) => cell.name === name))
  if (unknown.length) throw new Error(`no cell '${unknown}'; there are ${CELLS.map((cell) => cell.name).join(', ')}`)
  if (!(options.repeat > 0)) throw new Error('--repeat needs a number')
  return options
}

const hosts = {
  server: (kind) => (kind === 'open' ? 'open' : kind === 'lan' ? 'hostA2' : 'hostB'),
  client: (kind) => (kind === 'open' ? 'open' : 'hostA')
}

async function startServer(cell, kind, env) {
  const child = start(hosts.server(cell.server), ...command(kind, cell.swarm ? 'swarm-server' : 'server'), { ...env, SEED: randomBytes(32).toString('hex') })
  child.key = await line(child, /LISTENING ([0-9a-f]{64})/, START_TIMEOUT)
  return child
}

async function connect(cell, kind, key, env) {
  const child = start(hosts.client(cell.client), ...command(kind, cell.swarm ? 'swarm-client' : 'client', key), env)
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT + CONNECT_TIMEOUT)
  await child.ended
  clearTimeout(timer)
  const ok = /^OK open=([\d.]+)ms.*/m.exec(child.output)
  if (ok) return { open: Number(ok[1]), line: ok[0] }
  const fail = /^FAIL (\S+).*/m.exec(child.output)
  return { error: fail ? fail[1] : 'NO_ANSWER', line: fail ? fail[0] : child.output }
}

/** Runs all pairs of a cell in turn, `repeat` times. */
async function runCell(cell, pairs, repeat, report) {
  rewire(cell.client === 'open' ? 'cone' : cell.client, ['open', 'lan'].includes(cell.server) ? 'cone' : cell.server)
  const env = { BOOTSTRAP }
  const children = []
  const servers = new Map()
  try {
    if (cell.relay) {
      const relay = start('open', ...command(cell.relay, 'relay'), env)
      children.push(relay)
      env.RELAY = await line(relay, /RELAY ([0-9a-f]{64})/i, START_TIMEOUT)
    }
    const results = new Map(pairs.map((pair) => [pair, []]))
    for (let round = 0; round < repeat; round++) {
      for (const pair of pairs) {
        const [server, client] = pair
        // A node waits between two random punches: each gets a new one.
        let child = cell.random ? null : servers.get(server)
        if (!child) {
          child = await startServer(cell, server, env)
          servers.set(server, child)
          children.push(child)
        }
        const result = await connect(cell, client, child.key, env)
        results.get(pair).push(result)
        report(cell, pair, round, result)
        if (cell.random) await stop(child)
      }
    }
    return results
  } finally {
    await Promise.all(children.map(stop))
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function summary(results) {
  const times = results.filter((result) => !result.error).map((result) => result.open)
  const errors = [...new Set(results.filter((result) => result.error).map((result) => result.error))]
  return { of: results.length, ok: times.length, median: times.length ? median(times) : null, errors }
}

/** What is wrong with a pair in which Rust takes part; empty if nothing. `times`: medians count too. */
function judge(cell, mine, javascript, times) {
  const wrong = []
  if (cell.fails) {
    const codes = javascript.flatMap((js) => js.errors)
    if (mine.ok) wrong.push('connected, which JavaScript cannot')
    if (codes.length) wrong.push(...mine.errors.filter((code) => !codes.includes(code)).map((code) => `${code}, not ${codes}`))
    return wrong
  }
  // In all other cells somebody can connect, and where JavaScript was not asked it is no excuse. Where JavaScript itself does
  // not always connect to itself, Rust must at least as often.
  const share = (side) => side.ok / side.of
  const wanted = javascript.length ? Math.max(...javascript.map(share)) : 1
  if (!cell.random && share(mine) < wanted) wrong.push(`${mine.ok} of ${mine.of} connected`)
  if (cell.random && mine.ok === 0) wrong.push('never connected')
  if (times && !cell.random && !cell.swarm && mine.ok && javascript.some((js) => js.ok)) {
    const best = Math.min(...javascript.filter((js) => js.ok).map((js) => js.median))
    if (mine.median > best + NOISE_MS) wrong.push(`slower: ${mine.median.toFixed(0)} ms, JavaScript ${best.toFixed(0)} ms`)
  }
  return wrong
}

async function main() {
  const { repeat, repeatRandom, only, implementations, times } = options(process.argv.slice(2))
  const pairs = PAIRS.filter((pair) => pair.every((kind) => implementations.includes(kind)))
  const cells = CELLS.filter((cell) => (only.length ? only.includes(cell.name) : true))
  up()
  const dht = start('public', ...command('latest', 'dht', String(DHT_NODES)), { BOOTSTRAP })
  await line(dht, /READY/, START_TIMEOUT)

  let failures = 0
  const rows = [['server/client NAT', 'server', 'client', 'connected', 'median ms', 'verdict']]
  const notRun = []
  for (const cell of cells) {
    if ((cell.relay === 'rust' || cell.doctor) && !existsSync(intercom)) {
      notRun.push(`${cell.name}: ${intercom} is not built`)
      continue
    }
    if (cell.doctor) {
      const found = await runDoctor(intercom, BOOTSTRAP, (nat, text) => console.log(`doctor behind ${nat}:\n${text}`))
      for (const { nat, took, wrong } of found) {
        if (wrong.length) failures++
        rows.push([`doctor: ${nat}`, 'rust', '', wrong.length ? '0/1' : '1/1', took.toFixed(1), wrong.length ? `NOT GOOD: ${wrong.join('; ')}` : 'good'])
      }
      continue
    }
    const rounds = cell.random || cell.fails || cell.swarm ? Math.min(repeat, repeatRandom) : repeat
    const results = await runCell(cell, pairs, rounds, (cell, [server, client], round, result) => {
      const text = result.error ? result.line.trim().split('\n').slice(-3).join(' | ') : result.line
      console.log(`${cell.name} ${server}/${client} ${round + 1}: ${text}`)
    })
    for (const [pair, list] of results) {
      const mine = summary(list)
      const js = [...results].filter(([[s, c]]) => s === c && s !== 'rust' && pair.some((kind) => kind === s))
      // Rust alone is compared with every JavaScript.
      const like = js.length ? js : [...results].filter(([[s, c]]) => s === c && s !== 'rust')
      const wrong = pair.includes('rust') ? judge(cell, mine, like.map(([, other]) => summary(other)), times) : null
      if (wrong?.length) failures++
      const verdict = wrong === null ? '' : wrong.length ? `NOT GOOD: ${wrong.join('; ')}` : 'good'
      const time = mine.median === null ? mine.errors.join(' ') : mine.median.toFixed(1)
      rows.push([cell.name, ...pair, `${mine.ok}/${mine.of}`, time, verdict])
    }
  }
  await stop(dht)
  console.log('\n' + table(rows))
  for (const reason of notRun) console.log(`not run: ${reason}`)
  console.log(failures ? `\n${failures} of the rows with Rust are not good` : '\nall rows with Rust are good')
  process.exitCode = failures ? 1 : 0
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const lines = rows.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`)
  lines.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`)
  return lines.join('\n')
}

main().catch((error) => {
  console.error(`natlab: ${error.message}`)
  process.exit(2)
})
