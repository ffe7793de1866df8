'use strict'
const fs = require('fs')
const path = require('path')

const BLOCK = Buffer.alloc(100, 7)

/** What the files in a folder take of the disk, where the system tells. */
function size (dir) {
  let sum = 0
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const file = path.join(dir, entry.name)
    const stat = entry.isDirectory() ? null : fs.statSync(file)
    sum += stat === null ? size(file) : stat.blocks === undefined ? stat.size : stat.blocks * 512
  }
  return sum
}

module.exports = ({ stack, now }) => ({
  /**
   * Appends and gets in a store on disk: rates a second, bytes. An append resolves when RocksDB has written its log, which it never
   * synchronises with the disk; what makes it durable is a flush of the database, which writes a table.
   */
  async store ({ dir, blocks }) {
    const Corestore = stack.require('corestore')
    let from = now()
    const rate = (count) => count / (now() - from) * 1000
    let store = new Corestore(dir)
    const core = async (name) => { const core = store.get({ name }); await core.ready(); return core }

    const one = await core('one')
    from = now()
    for (let n = 0; n < blocks; n++) await one.append(BLOCK)
    const append = rate(blocks)
    const flush = () => store.storage.db.flush()
    await flush()
    from = now()
    for (let n = 0; n < 50; n++) { await one.append(BLOCK); await flush() }
    const durable = rate(50)

    let many = await core('many')
    const batchOf = new Array(100).fill(BLOCK)
    from = now()
    for (let n = 0; n < blocks / 10; n++) await many.append(batchOf)
    const batch = rate(blocks * 10)
    await flush()
    from = now()
    for (let n = 0; n < 50; n++) { await many.append(batchOf); await flush() }
    const durableBatch = rate(5000)
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
    await store.close()
    return { append, durable, signed: append, batch, durableBatch, get, disk }
  },

  /** Makes a store of many cores. */
  async store_fill ({ dir, cores }) {
    const Corestore = stack.require('corestore')
    const store = new Corestore(dir)
    const keys = []
    for (let n = 0; n < cores; n++) {
      const core = store.get({ name: 'core' + n })
      await core.append(BLOCK)
      keys.push(core.key.toString('hex'))
      await core.close()
    }
    await store.close()
    return { keys }
  },

  /** Opens a store, in a process that did nothing else, and holds these cores of it open. */
  async store_hold ({ dir, keys }) {
    const Corestore = stack.require('corestore')
    const before = process.memoryUsage().rss
    const from = now()
    const store = new Corestore(dir)
    await store.ready()
    const open = now() - from
    for (const key of keys) await store.get({ key: Buffer.from(key, 'hex') }).ready()
    return { open, memory: Math.max(0, process.memoryUsage().rss - before) / keys.length }
  }
})
