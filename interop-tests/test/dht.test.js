'use strict'
// Plain HyperDHT nodes: records stored by one kind are read by the other, announcements are found, connections carry
// data, whoever operates the DHT.

const { describe, test, after } = require('node:test')
const assert = require('node:assert/strict')
const { randomBytes } = require('crypto')
const { KINDS, startDht, startNode, reporting } = require('../lib/kinds')
const { repeat, wanted } = require('../lib/settings')

// JavaScript announces a resumed server after at most one round of pings, 3 s; the rest is for a busy machine.
const ANNOUNCED_MS = 60_000

const hex = () => randomBytes(32).toString('hex')

async function mutable (writer, reader) {
  const seed = hex()
  for (const seq of [1, 2, 7]) {
    const value = 'value ' + seq + ' of ' + seed
    const { key } = await writer.call({ op: 'mutable_put', seed, value, seq })
    const got = await reader.call({ op: 'mutable_get', key, seq: 0 })
    assert.equal(got.value, value)
    assert.equal(got.seq, seq)
    const later = await reader.call({ op: 'mutable_get', key, seq: seq + 1 })
    assert.equal(later.value, null, 'a record older than the one asked for is not given')
  }
}

async function immutable (writer, reader) {
  const value = 'immutable ' + hex() + 'x'.repeat(700)
  const { hash } = await writer.call({ op: 'immutable_put', value })
  const got = await reader.call({ op: 'immutable_get', hash })
  assert.equal(got.value, value)
  const none = await reader.call({ op: 'immutable_get', hash: hex() })
  assert.equal(none.value, null)
}

async function announce (writer, reader) {
  const topic = hex()
  const seeds = [hex(), hex(), hex()]
  const keys = []
  for (const seed of seeds) {
    keys.push((await writer.call({ op: 'key', seed })).key)
    await writer.call({ op: 'announce', topic, seed })
  }
  assert.deepEqual((await reader.call({ op: 'lookup', topic })).keys, [...keys].sort())
  await writer.call({ op: 'unannounce', topic, seed: seeds[0] })
  assert.deepEqual((await reader.call({ op: 'lookup', topic })).keys, keys.slice(1).sort())
  assert.deepEqual((await reader.call({ op: 'lookup', topic: hex() })).keys, [])
}

async function connect (server, client) {
  const { key } = await server.call({ op: 'listen', seed: hex() })
  const { same } = await client.call({ op: 'echo', key, count: 50, size: 4000 })
  assert.ok(same, 'what came back is what was sent')
  await server.call({ op: 'unlisten', key })
}

// What hyperdht expects of its own pools (test/pool.js).
async function pools (server, client) {
  // On the client's side: who asks twice gets one connection.
  const { key } = await server.call({ op: 'listen', seed: hex() })
  await client.call({ op: 'pool' })
  assert.ok((await client.call({ op: 'pool_connect', seed: hex(), key })).same)
  assert.deepEqual(await state(client, 1), { opened: 1, connections: 1 })
  await client.call({ op: 'pool_close' })
  await server.call({ op: 'unlisten', key })

  // On the server's side: who comes twice ends its first connection, and the second stays.
  await server.call({ op: 'pool' })
  await client.call({ op: 'pool' })
  const pooled = (await server.call({ op: 'pool_listen', seed: hex() })).key
  const seed = hex()
  const { held } = await client.call({ op: 'hold', seed, key: pooled })
  assert.deepEqual(await state(server, 1), { opened: 1, connections: 1 })
  await client.call({ op: 'hold', seed, key: pooled })
  await client.call({ op: 'ended', held })
  assert.deepEqual(await state(server, 2), { opened: 2, connections: 1 })
  // Another peer takes nobody's place.
  await client.call({ op: 'hold', seed: hex(), key: pooled })
  assert.deepEqual(await state(server, 3), { opened: 3, connections: 2 })

  // On both sides.
  await client.call({ op: 'pool' })
  assert.ok((await client.call({ op: 'pool_connect', seed: hex(), key: pooled })).same)
  assert.deepEqual(await state(client, 1), { opened: 1, connections: 1 })
  assert.equal((await state(server, 4)).opened, 4)
  await client.call({ op: 'pool_close' })
  await server.call({ op: 'pool_close' })
}

/** What a pool says once it has told of so many connections. */
async function state (node, count) {
  const { opened, connections } = await node.call({ op: 'pool_opened', count })
  return { opened, connections }
}

// A server falls silent and comes back: connections end, nobody finds it, and then everybody does, under the same key.
async function suspend (server, client) {
  const { key } = await server.call({ op: 'listen', seed: hex() })
  assert.ok((await client.call({ op: 'echo', key, count: 1, size: 10 })).same)
  await server.call({ op: 'suspend' })
  // Also for a client that remembers who forwarded to it.
  await assert.rejects(client.call({ op: 'echo', key, count: 1, size: 10 }), /PEER_NOT_FOUND/)
  await server.call({ op: 'resume' })
  await found(client, key)
  // It is a client again too.
  const { key: other } = await client.call({ op: 'listen', seed: hex() })
  assert.ok((await server.call({ op: 'echo', key: other, count: 5, size: 1000 })).same)
  await server.call({ op: 'unlisten', key })
  await client.call({ op: 'unlisten', key: other })
}

/** It announces itself in the background when it resumes: that takes a few round trips. */
async function found (client, key) {
  const until = Date.now() + ANNOUNCED_MS
  for (;;) {
    try {
      return assert.ok((await client.call({ op: 'echo', key, count: 5, size: 1000 })).same)
    } catch (err) {
      if (Date.now() > until) throw err
    }
  }
}

const WHAT = {
  'suspend and resume': suspend,
  'mutable records': mutable,
  'immutable records': immutable,
  announcements: announce,
  connections: connect,
  'connection pools': pools
}

describe('DHT', { concurrency: 3 }, () => {
  for (const operator of KINDS) {
    describe('DHT operator ' + operator, { concurrency: 1 }, () => {
      const running = { dht: null, writer: {}, reader: {} }
      after(async () => {
        const all = [running.dht, ...Object.values(running.writer), ...Object.values(running.reader)]
        await Promise.all(all.map((side) => side && side.kill()))
      })
      const node = async (role, kind) => (running[role][kind] ||= await startNode(kind, running.dht.bootstrap, role))
      for (const from of KINDS) {
        for (const to of KINDS) {
          for (const [what, scenario] of Object.entries(WHAT)) {
            const name = 'dht: ' + what + ' from=' + from + ' to=' + to + ' dht=' + operator
            if (!wanted(name)) continue
            // Who is gone is waited for, seconds each time.
            const times = scenario !== suspend && [from, to, operator].includes('rust') ? repeat : 1
            test(name + ' x' + times, async () => {
              running.dht ||= await startDht(operator, { nodes: 8 })
              const writer = await node('writer', from)
              const reader = await node('reader', to)
              await reporting(() => [writer, reader, running.dht], async () => {
                for (let n = 0; n < times; n++) await scenario(writer, reader)
              })
            })
          }
        }
      }
    })
  }
})
