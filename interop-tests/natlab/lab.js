'use strict'
// Networks of namespaces: a public one, two routers with a NAT each, hosts behind them, and a host without NAT.
//
//   public    bridge 45.10.0.0/16; the nodes of the DHT at 45.10.0.1 and on
//   natA      WAN 45.10.1.1, LAN 192.168.1.1; behind it hostA .2 and hostA2 .3
//   natB      WAN 45.10.2.1, LAN 192.168.2.1; behind it hostB .2
//   open      45.10.3.1
//
// The addresses look public because peers ignore those that are not. Nothing leaves the namespaces.

const { execFileSync, spawn } = require('node:child_process')
const { writeFileSync } = require('node:fs')
const { join } = require('node:path')

const prefix = process.env.NATLAB_PREFIX
const DHT_NODES = 12
let started = 0
let plugs = 0

const ns = (name) => `${prefix}-${name}`

function ip(...args) {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

function inside(name, command, args, options = {}) {
  return execFileSync('ip', ['netns', 'exec', ns(name), command, ...args], { stdio: ['pipe', 'ignore', 'inherit'], ...options })
}

const PRIVATE = ['natA', 'natB', 'hostA', 'hostA2', 'hostB']

function namespace(name) {
  ip('netns', 'add', ns(name))
  ip('-n', ns(name), 'link', 'set', 'lo', 'up')
}

/** Builds the public network. `scripts/natlab` takes all networks down, however this ends. */
function up() {
  namespace('public')
  namespace('open')
  bridge('public', 'net')
  for (let node = 1; node <= DHT_NODES; node++) ip('-n', ns('public'), 'addr', 'add', `45.10.0.${node}/16`, 'dev', 'net')
  plug('open', 'wan', 'public', 'net', '45.10.3.1/16')
}

/**
 * Builds the private networks anew, with routers that know nothing of what went through before: a port that is still open from
 * another time makes a peer believe that it has no firewall.
 */
function rewire(kindA, kindB) {
  const existing = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  for (const name of PRIVATE) {
    if (existing.split(/\s+/).includes(ns(name))) ip('netns', 'del', ns(name))
    namespace(name)
  }
  plug('natA', 'wan', 'public', 'net', '45.10.1.1/16')
  plug('natB', 'wan', 'public', 'net', '45.10.2.1/16')
  for (const [router, lan, hosts] of [
    ['natA', 1, ['hostA', 'hostA2']],
    ['natB', 2, ['hostB']]
  ]) {
    inside(router, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1'])
    bridge(router, 'lan')
    ip('-n', ns(router), 'addr', 'add', `192.168.${lan}.1/24`, 'dev', 'lan')
    hosts.forEach((host, index) => {
      plug(host, 'eth0', router, 'lan', `192.168.${lan}.${2 + index}/24`)
      ip('-n', ns(host), 'route', 'add', 'default', 'via', `192.168.${lan}.1`)
    })
  }
  nat('natA', kindA)
  nat('natB', kindB)
}

function bridge(where, name) {
  // An address of its own: else it changes with the cables, and hosts write to the old one for a while.
  ip('-n', ns(where), 'link', 'add', name, 'address', '02:00:00:00:00:01', 'type', 'bridge')
  ip('-n', ns(where), 'link', 'set', name, 'up')
}

/** A cable from an interface of `name` to a bridge of `other`. */
function plug(name, device, other, bridgeName, address) {
  // Of a namespace that was removed, the far end may linger.
  const far = `plug${++plugs}`
  ip('-n', ns(name), 'link', 'add', device, 'type', 'veth', 'peer', 'name', far, 'netns', ns(other))
  ip('-n', ns(other), 'link', 'set', far, 'master', bridgeName, 'up')
  ip('-n', ns(name), 'addr', 'add', address, 'dev', device)
  ip('-n', ns(name), 'link', 'set', device, 'up')
}

/**
 * Sets how a router translates:
 *   cone   the port stays the same for all destinations, and only who was written to gets in
 *   full   the same, and everybody gets in (to the first host)
 *   sym    another random port for each destination
 */
function nat(router, kind) {
  const lan = router === 'natA' ? 1 : 2
  const host = `192.168.${lan}.2`
  const kinds = {
    cone: { post: 'oifname "wan" masquerade' },
    sym: { post: 'oifname "wan" masquerade fully-random' },
    full: {
      pre: `iifname "wan" meta l4proto udp dnat to ${host}`,
      post: `oifname "wan" ip saddr ${host} snat to 45.10.${lan}.1; oifname "wan" masquerade`,
      forward: 'accept'
    }
  }
  const { pre = '', post, forward = 'ct state established,related accept; iifname "lan" accept' } = kinds[kind]
  // What nobody asked for must be dropped at the input: else the early packet of a peer makes an entry of its own in the
  // router, whose port is then taken when our packet to that peer leaves.
  const rules = `
flush ruleset
table ip translate {
  chain in { type nat hook prerouting priority -100; ${pre}; }
  chain out { type nat hook postrouting priority 100; ${post}; }
}
table ip filter {
  chain input { type filter hook input priority 0; policy accept; iifname "wan" ct state established,related accept; iifname "wan" drop; }
  chain forward { type filter hook forward priority 0; policy drop; ${forward}; }
}
`.replace(/ ; }/g, ' }')
  inside(router, 'nft', ['-f', '-'], { input: rules })
}

/** Starts a program in a namespace. */
function start(name, command, args, env) {
  const child = spawn('ip', ['netns', 'exec', ns(name), command, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  child.output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (child.output += data))
  if (process.env.NATLAB_LOG) {
    const log = join(process.env.NATLAB_LOG, `${String(++started).padStart(4, '0')}-${name}.log`)
    child.on('close', () => writeFileSync(log, `${command} ${args.join(' ')}\n${child.output}`))
  }
  child.ended = new Promise((resolve) => child.on('close', resolve))
  child.on('error', (error) => (child.output += error.message))
  return child
}

/** Waits for a line that matches; what it says in its first group. */
function line(child, pattern, timeout) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = pattern.exec(child.output)
      if (found) finish(resolve, found[1])
    }
    const failed = (why) => finish(reject, new Error(`${child.spawnargs.join(' ')}: ${why}\n${child.output}`))
    const ended = (code) => {
      look()
      failed(`ended with ${code}`)
    }
    const timer = setTimeout(failed, timeout, `no ${pattern} in ${timeout} ms`)
    function finish(settle, value) {
      clearTimeout(timer)
      child.stdout.off('data', look)
      child.off('close', ended)
      settle(value)
    }
    child.stdout.on('data', look)
    child.on('close', ended)
    look()
  })
}

/** Ends a program at once. */
async function stop(child) {
  child.kill('SIGKILL')
  await child.ended
}

module.exports = { DHT_NODES, up, rewire, start, line, stop }
