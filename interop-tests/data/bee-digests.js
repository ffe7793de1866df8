'use strict'
// Records what JavaScript's hyperbee appends for random operations: node bee-digests.js [pinned|latest] > vectors/data/bee-digests.json
//
// For each seed 10,000 operations, single and in batches, over few keys or many; the digest is BLAKE2b-256 over the digests of
// all blocks. `protocol/hyperbee/tests/random.rs` makes the same operations from the same numbers.

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

// mulberry32
function random (seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
}

async function main () {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bee-digests-'))
  const store = new Corestore(dir)
  const digests = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const core = store.get({ name: 'bee ' + seed })
    await core.ready()
    const hashes = []
    const append = core.append
    core.append = function (blocks, ...rest) {
      for (const block of Array.isArray(blocks) ? blocks : [blocks]) hashes.push(crypto.hash([block]))
      return append.call(this, blocks, ...rest)
    }
    const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
    await bee.ready()
    const r = random(seed)
    const keys = 20 * 4 ** (seed % 5)
    for (let done = 0; done < OPERATIONS;) {
      const single = r() < 0.2
      const count = Math.min(single ? 1 : 1 + Math.floor(r() * 60), OPERATIONS - done)
      const target = single ? bee : bee.batch({ update: false })
      for (let i = 0; i < count; i++) {
        const key = 'k' + Math.floor(r() * keys)
        if (r() < 0.4) await target.del(key)
        else await target.put(key, 'v' + Math.floor(r() * 1e6))
      }
      if (!single) await target.flush()
      done += count
    }
    digests.push(crypto.hash(hashes).toString('hex'))
    await core.close()
    process.stderr.write('.')
  }
  await store.close()
  fs.rmSync(dir, { recursive: true, force: true })
  console.log(JSON.stringify({ operations: OPERATIONS, digests }, null, 1))
}

main().catch((err) => { console.error(err); process.exit(1) })
