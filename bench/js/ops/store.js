'use strict'
const fs = require('fs')
const path = require('path')

const BLOCK = Buffer.alloc(100, 7)

function size (dir) {
  let sum = 0
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const file = path.join(dir, entry.name)
    sum += entry.isDirectory() ? size(file) : fs.statSync(file).size
  }
  return sum
}

module.exports = ({ stack, now }) => ({
  /** Appends, gets and many cores in a store on disk: rates a second, milliseconds, bytes. Nothing is synchronised with the disk. */
  async store ({ dir, blocks, cores }) {
    const Corestore = stack.require('corestore')
    let from = now()
    const rate = (count) => count / (now() - from) * 1000
    let store = new Corestore(dir)
    const core = async (name) => { const core = store.get({ name }); await core.ready(); return core }

    const one = await core('one')
    from = now()
    for (let n = 0; n < blocks; n++) await one.append(BLOCK)
    const append = rate(blocks)

    let many = await core('many')
    const batchOf = new Array(100).fill(BLOCK)
    from = now()
    for (let n = 0; n < blocks / 10; n++) await many.append(batchOf)
    const batch = rate(blocks * 10)
    const bytes = (one.length + many.length) * BLOCK.length
    await store.close()
    const disk = size(dir) / bytes

    store = new Corestore(dir)
    many = await core('many')
    let random = 12345
    from = now()
    for (let n = 0; n < blocks; n++) {
      random = Number((BigInt(random) * 1103515245n + 12345n) % 2147483648n)
      if (!await many.get(random % many.length)) throw new Error('a block is missing')
    }
    const get = rate(blocks)

    for (let n = 0; n < cores; n++) await (await core('core' + n)).append(BLOCK)
    await store.close()
    from = now()
    const before = process.memoryUsage().rss
    store = new Corestore(dir)
    await store.ready()
    const open = now() - from
    for (let n = 0; n < cores; n++) await core('core' + n)
    const memory = Math.max(0, process.memoryUsage().rss - before) / cores
    await store.close()
    return { append, batch, get, disk, open, memory }
  }
})
