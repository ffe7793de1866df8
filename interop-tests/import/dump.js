'use strict'
// A JavaScript store as a test keeps it: node dump.js <pinned|latest> <directory> <what make-store.js printed>
// Prints that, with the store's entries as RocksDB has them: [key, value] in hex, in the order of the keys.

const fs = require('fs')
const path = require('path')
const { createRequire } = require('module')

const [kind, directory, description] = process.argv.slice(2)
const from = createRequire(path.join(__dirname, '..', kind, 'node_modules', 'hypercore-storage', 'package.json'))
const RocksDB = from('rocksdb-native')

async function main () {
  const db = new RocksDB(path.join(directory, 'db'), { readOnly: true })
  const family = db.columnFamily(new RocksDB.ColumnFamily('corestore', { enableBlobFiles: true, minBlobSize: 4096 }))
  await family.ready()
  const lines = []
  for await (const { key, value } of family.iterator({ gte: Buffer.from([0]), lt: Buffer.from([255]) })) {
    lines.push(JSON.stringify([key.toString('hex'), value.toString('hex')]))
  }
  const { primaryKey, cores } = JSON.parse(fs.readFileSync(description))
  const about = cores.map((core) => JSON.stringify(core)).join(',\n')
  process.stdout.write(`{"primaryKey":"${primaryKey}","cores":[\n${about}\n],"entries":[\n${lines.join(',\n')}\n]}\n`)
  await family.close()
  await db.close()
}

main().catch((error) => {
  process.stderr.write(error.stack + '\n')
  process.exit(1)
})
