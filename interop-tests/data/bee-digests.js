'use strict'
// Records what JavaScript's hyperbee appends for random operations: node bee-digests.js [pinned|latest] > vectors/data/bee-digests.json
//
// For each seed 10,000 operations, single and in batches, over few keys or many; the digest is BLAKE2b-256 over the digests of
// all blocks. Then 2,000 in small batches with many that change nothing, because they are refused or (seeds that are odd, without
// alwaysDuplicate) set the value that is there. `protocol/hyperbee/tests/random.rs` makes the same operations from the same numbers.

const fs = require('fs')
const os = require('os')
const path = require('path')
const { createRequire } = require('module')

const from = createRequire(path.join(__dirname, '..', process.argv[2] || 'pinned', 'package.json'))
const Corestore = from('corestore')
const Hyperbee = from('hyperbee')
const crypto = from('hypercore-crypto')

const SEEDS = 200
const OPERATIONS = 10_000
const REFUSING_OPERATIONS = 2000

// mulberry32
function random (seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
}

async function digest (store, seed, refusing) {
  const core = store.get({ name: `bee ${seed} ${refusing}` })
  await core.ready()
  const hashes = []
  const append = core.append
  core.append = function (blocks, ...rest) {
    for (const block of Array.isArray(blocks) ? blocks : [blocks]) hashes.push(crypto.hash([block]))
    return append.call(this, blocks, ...rest)
  }
  const alwaysDuplicate = !refusing || seed % 2 === 0
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false, alwaysDuplicate })
  await bee.ready()
  const r = random(seed)
  const keys = 20 * 4 ** (seed % 5)
  const operations = refusing ? REFUSING_OPERATIONS : OPERATIONS
  for (let done = 0; done < operations;) {
    const single = r() < 0.2
    const count = Math.min(single ? 1 : 1 + Math.floor(r() * (refusing ? 6 : 60)), operations - done)
    const target = single ? bee : bee.batch({ update: false })
    for (let i = 0; i < count; i++) {
      const key = 'k' + Math.floor(r() * keys)
      const refused = refusing && r() < 0.3
      const opts = refused ? { cas: () => false } : {}
      if (refusing && r() < 0.1) await target.get(key)
      if (r() < (refusing ? 0.15 : 0.4)) await target.del(key, opts)
      else await target.put(key, 'v' + Math.floor(r() * (refusing ? 2 : 1e6)), opts)
    }
    if (!single) await target.flush()
    done += count
  }
  await core.close()
  return crypto.hash(hashes).toString('hex')
}

// The last of the blocks after 400 keys and a batch with one change, which may come behind one that is refused.
async function lastBlock (store, refused) {
  const core = store.get({ name: 'refused: ' + refused })
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
  await bee.ready()
  let batch = bee.batch({ update: false })
  for (let i = 0; i < 400; i++) await batch.put(String(i).padStart(4, '0'), 'v')
  await batch.flush()
  batch = bee.batch({ update: false })
  if (refused) await batch.put('0003', 'x', { cas: () => false })
  await batch.put('0390', 'y')
  await batch.flush()
  return (await core.get(core.length - 1)).toString('hex')
}

async function main () {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bee-digests-'))
  const store = new Corestore(dir)
  const record = { operations: OPERATIONS, digests: [], refusingOperations: REFUSING_OPERATIONS, refusing: [] }
  for (const [list, refusing] of [[record.digests, false], [record.refusing, true]]) {
    for (let seed = 1; seed <= SEEDS; seed++) {
      list.push(await digest(store, seed, refusing))
      process.stderr.write('.')
    }
  }
  record.lastBlock = { alone: await lastBlock(store, false), behindRefused: await lastBlock(store, true) }
  await store.close()
  fs.rmSync(dir, { recursive: true, force: true })
  console.log(JSON.stringify(record, null, 1))
}

main().catch((err) => { console.error(err); process.exit(1) })
