'use strict'
// Whoever has nothing but the guides gets everywhere: the commands, messages and recipes of SKILL.md and README.md as they stand there.

const { describe, test, before, after } = require('node:test')
const assert = require('node:assert/strict')
const { execFileSync } = require('child_process')
const fs = require('fs')
const path = require('path')
const { freePort, reporting, stores, ROOT, RUST } = require('../lib/kinds')
const { BridgeClient } = require('../lib/bridge-client')
const { Process } = require('../lib/process')
const { wanted } = require('../lib/settings')

const read = (name) => fs.readFileSync(path.join(ROOT, '..', name), 'utf8')
const GUIDES = { 'SKILL.md': read('SKILL.md'), 'README.md': read('README.md') }
/** What is done is what a guide says. */
const told = (text, guide = 'SKILL.md') => {
  assert.ok(GUIDES[guide].includes(text), guide + ' does not say: ' + text)
  return text
}
const section = (title, guide = 'SKILL.md') => told('## ' + title + '\n', guide) && GUIDES[guide].split('## ' + title + '\n')[1].split('\n## ')[0]
/** The lines of the first shell block of a section that are no comments. */
const block = (title, n = 0, guide) => section(title, guide).split('```sh\n')[n + 1].split('```')[0].split('\n').filter((line) => line && !line.startsWith('#'))
/** The cells of a table's rows, `\|` is a character. */
const rows = (text) => text.split('\n').filter((line) => line.startsWith('| `')).map((line) => line.slice(2, -2).split(/ (?<!\\)\| /))

let cwd, ports, dht, network
const running = []
const env = () => ({ ...process.env, PATH: path.join(cwd, 'bin') + path.delimiter + process.env.PATH })
/** A line of a shell, with ports that are free. */
const shell = (line) => ['bash', '-c', ports.reduce((line, [told, free]) => line.replaceAll(told, free), line)]
const run = (line, input = '') => execFileSync('bash', shell(line).slice(1), { cwd, env: env(), input, encoding: 'utf8' })
function begin (line, more = '') {
  const [command, ...rest] = shell(line)
  const started = new Process(line, [command, rest[0], 'exec ' + rest[1] + ' ' + more], { cwd, env: env() })
  running.push(started)
  return started
}
const printed = (started) => started.log.map((line) => line.replace(/^ *\d+ ms {2}/, ''))
/** Waits for lines that begin so, in this order; gives what follows. */
async function prints (started, beginnings) {
  const found = []
  let at = 0
  for (const beginning of beginnings) {
    for (;;) {
      const lines = printed(started)
      while (at < lines.length && !lines[at].startsWith(beginning)) at++
      if (at < lines.length) break
      await started.line(() => true, 60_000)
    }
    found.push(printed(started)[at].slice(beginning.length).trim())
  }
  return found
}
const enter = async (started, tokenFile) => {
  const [address] = await prints(started, ['SC-Bridge: ws://'])
  return BridgeClient.connect(address.split(':')[1], tokenFile && fs.readFileSync(path.join(cwd, tokenFile), 'utf8').trim(), { alive: () => !started.exit })
}

async function everybodyEnds () {
  await Promise.all(running.splice(0).map((one) => one.exit || one.stop()))
}

const CASES = {
  async 'the start, line by line' () {
    run(told('openssl rand -hex 32 > alice.token; chmod 600 alice.token'))
    run('openssl rand -hex 32 > bob.token; chmod 600 bob.token')
    const [demo, dht, ...peers] = block('Start')
    assert.match(run(demo), /both ledgers settle by carol -> alice: 23\.00/)
    await prints(begin(dht), ['DHT '])
    const [alice, bob] = peers.map((line, n) => begin(line, '--ui 1 --ui-port 0 --metrics-port 0' + (n ? '' : ' --sc-bridge-port 0')))
    const waited = rows(section('Start').split('in this order')[1]).map(([line]) => line.slice(1, -1).split(/[<…0-9]/)[0])
    assert.equal(waited.length, 7)
    for (const peer of [alice, bob]) await prints(peer, waited.map((line) => line.replace(/trac$/, '')))
    const [a, b] = [await enter(alice, 'alice.token'), await enter(bob, 'bob.token')]
    await Promise.all([a.connected(), b.connected()])
    await a.send('0000intercom', 'hello')
    const { from } = await b.message((m) => m.message === 'hello')
    assert.equal(from, a.peer)

    // Every row of the tables of commands, answered by the type that its row says.
    await a.call({ type: 'join', channel: 'trip' }).catch(() => {})
    const asked = rows(section('The SC-Bridge').split('### Errors')[0]).concat(rows(section('InterSplit: shared expenses')))
    const seen = new Set()
    for (const [question, answer] of asked) {
      const request = JSON.parse(question.split('`')[1].replaceAll('…', '"x"').replaceAll('\\|', '|').replace(/"\w+_"x""/, '"ping"'))
      if (/^[A-Z]/.test(answer.replace('`', ''))) {
        await assert.rejects(a.call(request), { message: answer.split('`')[1] }, question)
        continue
      }
      if (!answer.startsWith('`')) continue
      const type = /"type":"(\w+)"/.exec(answer)?.[1]
      // What was cleared by the row before is not there to be restored.
      if (request.type === 'expense_restore') await a.call({ type: 'expense_add', channel: request.channel, payer: 'ann', amount: 1, split: 'ben' })
      if (request.type === 'cli') await assert.rejects(a.call(request), /CLI over WS is disabled\./)
      else assert.equal((await a.call(request)).type, answer.startsWith('the same') ? 'subscribed' : type, question)
      seen.add(request.type)
    }
    assert.ok(seen.size >= 18, [...seen].join())
    for (const client of [a, b]) client.close()
  },

  async 'recipes of policies' () {
    const policies = section('Policies, by recipe')
    const recipe = (text) => { assert.ok(policies.replace(/\n\s*/g, ' ').includes('`' + text + '`'), text); return text }
    const always = `--peer-dht-bootstrap ${network} --sc-bridge 1 --sc-bridge-token t --sc-bridge-cli 1 --sc-bridge-port 0`
    const peer = async (name, flags, again = null) => {
      if (again) await again.process.stop()
      const started = begin(`intercom ${name} ${always} ${flags}`)
      const [address] = await prints(started, ['SC-Bridge: ws://'])
      const bridge = await BridgeClient.connect(address.split(':')[1], 't')
      await bridge.started()
      return { process: started, bridge, key: bridge.peer }
    }
    const line = async (who, command, name) => {
      const { output } = await who.bridge.call({ type: 'cli', command })
      return name ? output.find((text) => text.startsWith(name + ': ')).slice(name.length + 2) : output
    }
    let n = 0
    const hears = async (from, to, channel = 'room') => {
      const text = 'said ' + n++
      assert.equal((await from.bridge.send(channel, text)).type, 'sent')
      await to.bridge.message((m) => m.message === text)
    }
    const met = (...all) => Promise.all(all.map((one) => one.bridge.connected(all.length - 1)))

    const open = recipe('--sidechannels room --sidechannel-welcome-required 0')
    let [ann, ben] = [await peer('ann', open), await peer('ben', open)]
    await met(ann, ben)
    await hears(ann, ben)
    await hears(ben, ann)

    const owned = recipe('--sidechannels room --sidechannel-owner "room:<owner\'s key>"').replace("<owner's key>", ann.key)
    ;[ann, ben] = [await peer('ann', owned, ann), await peer('ben', owned, ben)]
    const welcome = await line(ann, recipe('/sc_welcome --channel room --text "Welcome"'), 'welcome_b64')
    fs.writeFileSync(path.join(cwd, 'welcome.b64'), welcome)
    const welcomed = recipe('--sidechannel-welcome "room:@welcome.b64"')
    ben = await peer('ben', owned + ' ' + welcomed, ben)
    await met(ann, ben)
    await hears(ann, ben)
    await hears(ben, ann)

    const announced = [owned, welcomed, recipe('--sidechannel-owner-write-channels room')].join(' ')
    ;[ann, ben] = [await peer('ann', announced, ann), await peer('ben', announced, ben)]
    await met(ann, ben)
    await hears(ann, ben)
    await assert.rejects(ben.bridge.send('room', 'not I'), /Send denied/)

    const invited = recipe('--sidechannel-invite-required 1 --sidechannel-invite-channels room --sidechannel-inviter-keys "<inviter\'s key>"').replace("<inviter's key>", ann.key) + ' --sidechannel-welcome-required 0'
    ;[ann, ben] = [await peer('ann', invited, ann), await peer('ben', invited, ben)]
    await met(ann, ben)
    await assert.rejects(ben.bridge.call({ type: 'join', channel: 'room' }), /Join denied/)
    const invite = await line(ann, recipe('/sc_invite --channel room --pubkey "<its key>" --ttl 86400').replace('<its key>', ben.key), 'invite_b64')
    assert.equal((await ben.bridge.call({ type: 'join', channel: 'room', invite })).type, 'joined')
    await ann.bridge.call({ type: 'join', channel: 'room' })
    await hears(ann, ben)

    const joining = recipe('--sidechannel-auto-join 1') + ' --sidechannel-welcome-required 0'
    ;[ann, ben] = [await peer('ann', '--sidechannel-welcome-required 0', ann), await peer('ben', joining, ben)]
    await met(ann, ben)
    await line(ann, '/sc_join --channel room')
    await line(ann, recipe('/sc_open --channel room --via 0000intercom'))
    await ben.bridge.stats(({ channels }) => channels.includes('room'))
    await hears(ann, ben)

    const hard = [open, recipe('--sidechannel-pow-difficulty 16')].join(' ')
    ;[ann, ben] = [await peer('ann', hard, ann), await peer('ben', hard, ben)]
    await met(ann, ben)
    await hears(ann, ben)
    for (const one of [ann, ben]) one.bridge.close()
  },

  async 'identity, doctor, relay, store and why' () {
    const sample = path.join(ROOT, '..', 'vectors', 'app', 'keypair.sample.json')
    run('mkdir -p old-peer/db && cp ' + sample + ' old-peer/db/keypair.json')
    const [show, take, words, hand] = block('Identity')
    run(take.replace('alice', 'mover'))
    const key = 'c9c29cefe54eedc4bb0306d72b7c0997657e846e8be4cd4c8f926f35e7f7f6f5'
    assert.ok(run(show.replace('alice', 'mover')).includes(key))
    run(hand.replaceAll('alice', 'mover'))
    assert.ok(run('intercom keys import mover-keypair.json --peer-store-name second').includes(key))
    run('intercom keys export words.txt --mnemonic --peer-store-name second')
    run(words.replace('alice', 'third'))
    assert.ok(run(show.replace('alice', 'third')).includes(key))

    const findings = rows(section('The network of this machine: `intercom doctor`')).map(([name]) => name.slice(1, -1))
    const doctor = run(`intercom doctor --dht-bootstrap ${network}`)
    for (const finding of findings) assert.match(doctor, new RegExp('^(ok|note|bad) +' + finding + '\\b', 'm'), finding)

    const [relay] = await prints(begin(`intercom relay --bootstrap ${network} --host 127.0.0.1`), ['Relay '])
    const through = begin(`intercom through --peer-dht-bootstrap ${network} ${told('--relay-through <key>').replace('<key>', relay.split(/\s/)[0])}`)
    await prints(through, ['Sidechannel: ready'])

    const flags = run(told('intercom explain room') + ' --sidechannels room')
    assert.match(flags, /--sidechannel-welcome-required 0/)
    assert.equal(JSON.parse(run('intercom explain --json room --sidechannels room')).receiving[0].code, 'no-owner')
    // Every code that the program knows.
    const sources = ['sidechannel/explain.rs', 'sidechannel/account.rs', 'cli/commands/explain.rs'].map((name) => read('src/' + name)).join('\n')
    const codes = new Set([...sources.matchAll(/(?:obstacle\(\s*|code: )"([a-z-]+)"/g)].map(([, code]) => code))
    assert.ok(codes.size > 12)
    for (const code of codes) told('`' + code + '`')
    assert.throws(() => run('intercom store check nowhere'), /nowhere/)
  },

  async 'two machines, as in README.md' () {
    const title = 'Two machines, step by step'
    const [token, first] = block(title, 0, 'README.md')
    const [second] = block(title, 1, 'README.md')
    run(token)
    const more = `--peer-dht-bootstrap ${network} --sc-bridge-port 0 --ui-port 0`
    const alice = begin(first, more)
    await prints(alice, ['SC-Bridge: ws://', 'Web page: http://', 'Sidechannel: ready'])
    const bridge = await enter(alice, 'token')
    const bob = begin(second, `--peer-dht-bootstrap ${network}`)
    await prints(bob, ['Sidechannel: ready'])
    await bridge.connected()
    const typed = section(title, 'README.md').split('```\n> ').slice(1).map((part) => part.split('```')[0].split('\n> ').map((line) => line.trim()))
    for (const line of typed[0]) bob.child.stdin.write(line + '\n')
    await bridge.message((m) => m.message === 'I am here')
    await bridge.message((m) => m.message.type === 'expense_add')
    alice.child.stdin.write('/expense_balance --channel trip\n')
    await prints(alice, ['  alice -> bob: 21.25'])
    alice.child.stdin.write(typed[1][0] + '\n')
    await prints(alice, ['[why:trip] receiving: nothing is in the way', '[why:trip] sending: nothing is in the way'])
    bridge.close()
  }
}

describe('guide', { concurrency: 1, skip: process.platform === 'win32' }, () => {
  before(async () => {
    if (!Object.keys(CASES).some((what) => wanted('guide: ' + what))) return
    cwd = fs.mkdtempSync(path.join(stores, 'guide-'))
    fs.mkdirSync(path.join(cwd, 'bin'))
    fs.writeFileSync(path.join(cwd, 'bin', 'intercom'), `#!/bin/sh\nexec ${RUST.join(' ')} "$@"\n`, { mode: 0o755 })
    ports = []
    for (const port of ['49737', '49222', '49223']) ports.push([port, String(await freePort())])
    dht = new Process('DHT', [...RUST, 'dht', '--host', '127.0.0.1', '--port', '0', '--nodes', '4'])
    network = await dht.line((line) => (line.match(/\b127\.0\.0\.1:\d+/) || [])[0])
  })
  after(() => dht?.stop())
  for (const [what, body] of Object.entries(CASES)) {
    const name = 'guide: ' + what
    test(name, { skip: !wanted(name), timeout: 120_000 }, () => reporting(() => running, body).finally(everybodyEnds))
  }
})
